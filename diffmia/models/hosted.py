"""Models that others trained, from a folder of the user's or from a repository of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from diffmia.files.receipts import SourceFile
from diffmia.models.hub import HubFiles, Repository, cached_in_hub, fetch_from_hub, hub_cache
from diffmia.models.published import PublishedModel, Revision, published_models
from diffmia.spec import Spec


class HostedModel(Spec):
    """Files of a model in a folder, or in a repository at a commit; the first that is no JSON has the weights."""

    files: ClassVar[HubFiles]

    folder: str | None = Field(None, description="The model's folder, in the layout of its repository on the hub")
    repo: Repository | None = Field(None, description="In place of a folder: a repository of the Hugging Face hub")
    revision: Revision | None = Field(None, description="Commit of `repo`; null: the one in the register")

    @model_validator(mode="after")
    def _is_from_one_place(self) -> HostedModel:
        if (self.folder is None) == (self.repo is None):
            raise ValueError("give either folder, for a local model, or repo, for one on the Hugging Face hub")
        if self.repo is None and self.revision is not None:
            raise ValueError("revision is a commit of repo, which is not given")
        if self.repo is not None and self.commit is None:
            raise ValueError(
                f"revision is not given and the register has none of {self.repo}; give the commit's 40 digits"
            )
        return self

    @property
    def published(self) -> PublishedModel | None:
        """What the register says of it; of another commit it says nothing."""
        known = published_models().get(self.repo)
        return known if known is not None and self.revision in (None, known.revision) else None

    @property
    def published_name(self) -> str | None:
        """What it is called wherever its files lie, None if it has no such name; another commit is another model."""
        return None if self.repo is None else f"{self.repo}@{self.commit}"

    @property
    def place(self) -> str:
        """What errors call it."""
        return self.folder or self.repo

    @property
    def commit(self) -> str | None:
        """The commit of `repo` that is fetched."""
        return self.revision or (self.published and self.published.revision)

    def _names(self) -> list[str]:
        """Of a folder's files those that are read: of several names the first that is there."""
        required = [
            next((name for name in names if Path(self.folder, name).is_file()), names[0])
            for names in self.files.alternatives
        ]
        return [*required, *(name for name in self.files.optional if Path(self.folder, name).is_file())]

    def inputs(self) -> list[str]:
        """Local files it is read from, which the workflow depends on; none if it is downloaded."""
        return [] if self.folder is None else [f"{self.folder}/{name}" for name in self._names()]

    def whereabouts(self) -> dict[str, str]:
        """Where its files are had from and kept, for people."""
        if self.repo is None:
            return {"from": "you", "kept in": self.folder}
        return {"from": f"https://huggingface.co/{self.repo}", "revision": self.commit, "kept in": str(hub_cache())}

    def missing(self) -> list[str]:
        """What of it is not here yet."""
        if self.repo is None:
            return [path for path in self.inputs() if not Path(path).is_file()]
        return [] if cached_in_hub(self.repo, self.commit, self.files) else [f"{self.repo}, to be downloaded"]

    def fetch(self) -> list[SourceFile]:
        """Make its files present, and say which they are, named as in the repository.

        Raises
        ------
        DiffmiaError
            If a file is absent or cannot be downloaded.
        """
        if self.folder is None:
            return fetch_from_hub(self.repo, self.commit, self.files)
        return [SourceFile.of(f"{self.folder}/{name}", name) for name in self._names()]
