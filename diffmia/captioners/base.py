"""What every captioner says of itself in `config.yaml`, whatever its family."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt, model_validator

from diffmia.models.hub import Repository, cached_named, fetch_named, hub_cache
from diffmia.models.published import PublishedModel, Revision, published_models
from diffmia.receipts import SourceFile
from diffmia.spec import Sha256, Spec

if TYPE_CHECKING:
    import numpy as np
    import torch


class CaptionerSpec(Spec):
    """A model that writes a sentence about an image, from a folder or from the Hugging Face hub."""

    files: ClassVar[tuple[tuple[str, ...], ...]]  # what it is read from: of each tuple the first name that is there

    folder: str | None = Field(None, description="Its folder, in the layout of its repository on the hub")
    repo: Repository | None = Field(None, description="In place of a folder: a repository of the Hugging Face hub")
    revision: Revision | None = Field(None, description="Commit of `repo`; null: the one in the register")
    sha256: Sha256 | None = Field(
        None, description="Checksum of the file with its weights; null: the register's, or any if that has none"
    )
    batch_size: PositiveInt = Field(16, description="Images per model call; changes no caption")

    @model_validator(mode="after")
    def _is_from_one_place(self) -> CaptionerSpec:
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
        """What it is called wherever its files lie, None if it has no such name."""
        return None if self.repo is None else f"{self.repo}@{self.commit}"

    @property
    def commit(self) -> str | None:
        """The commit of `repo` that is fetched."""
        return self.revision or (self.published and self.published.revision)

    def inputs(self) -> list[str]:
        """Local files it is read from, which the workflow depends on; none if it is downloaded."""
        if self.folder is None:
            return []
        there = [[name for name in names if Path(self.folder, name).is_file()] or names for names in self.files]
        return [f"{self.folder}/{names[0]}" for names in there]

    def whereabouts(self) -> dict[str, str]:
        """Where its files are had from and kept, for people."""
        if self.repo is None:
            return {"from": "you", "kept in": self.folder}
        return {"from": f"https://huggingface.co/{self.repo}", "revision": self.commit, "kept in": str(hub_cache())}

    def missing(self) -> list[str]:
        """What of it is not here yet."""
        if self.repo is None:
            return [path for path in self.inputs() if not Path(path).is_file()]
        return [] if cached_named(self.repo, self.commit, self.files) else [f"{self.repo}, to be downloaded"]

    def fetch(self) -> list[SourceFile]:
        """Make its files present, and say which they are; of them only the weights are no JSON.

        Raises
        ------
        DiffmiaError
            If a file is absent or cannot be downloaded.
        """
        if self.repo is None:
            return [SourceFile.of(path) for path in self.inputs()]
        return fetch_named(self.repo, self.commit, self.files, "a captioner of this family")

    @abstractmethod
    def load(self, files: dict[str, Path], device: torch.device) -> Callable[[np.ndarray], list[str]]:
        """Read the model from the files of `fetch`, by name; nothing in them is executed.

        Returns
        -------
        callable
            The captions of a batch of images uint8 (B, C, H, W), each on its own: one sentence, always the same.

        Raises
        ------
        DiffmiaError
            If they are not the files of such a model.
        """
