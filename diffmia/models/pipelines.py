"""Targets that were trained elsewhere and saved as a diffusers pipeline: a folder, or a repository of the hub."""

from __future__ import annotations

import json
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from diffmia.errors import DiffmiaError
from diffmia.models.base import ImportedTarget
from diffmia.models.hub import PipelineFiles, Repository, cached_pipeline, fetch_pipeline, hub_cache
from diffmia.models.published import PublishedModel, Revision, published_models
from diffmia.receipts import SourceFile

SCHEDULER = "scheduler/scheduler_config.json"


class PipelineTarget(ImportedTarget):
    """A diffusers pipeline, from a folder or from the Hugging Face hub. Its split says what it was trained on."""

    files: ClassVar[PipelineFiles]  # the denoiser's weights come before what else is no JSON
    predictions: ClassVar[tuple[str, ...]] = ("epsilon",)  # what its network may predict

    folder: str | None = Field(None, description="The pipeline's folder, its weights in safetensors")
    repo: Repository | None = Field(None, description="In place of a folder: a repository of the Hugging Face hub")
    revision: Revision | None = Field(None, description="Commit of `repo`; null: the one in the register")

    @model_validator(mode="after")
    def _is_from_one_place(self) -> PipelineTarget:
        if (self.folder is None) == (self.repo is None):
            raise ValueError("give either folder, for a local pipeline, or repo, for one on the Hugging Face hub")
        if self.repo is None and self.revision is not None:
            raise ValueError("revision is a commit of repo, which is not given")
        if self.repo is not None and self.commit is None:
            raise ValueError(
                f"revision is not given and the register has none of {self.repo}; give the commit's 40 digits"
            )
        return self

    @property
    def published(self) -> PublishedModel | None:
        """See `ImportedTarget.published`; a repository in the register needs no `origin`."""
        return published_models().get(self.origin or self.repo)

    @property
    def published_name(self) -> str | None:
        """See `ImportedTarget.published_name`; another commit is another model."""
        return self.origin if self.repo is None else f"{self.repo}@{self.commit}"

    @property
    def place(self) -> str:
        """What errors call it."""
        return self.folder or self.repo

    @property
    def commit(self) -> str | None:
        """The commit of `repo` that is fetched."""
        return self.revision or (self.published and self.published.revision)

    def inputs(self) -> list[str]:
        """See `ImportedTarget.inputs`; of files that a pipeline need not have, those that are there."""
        return [] if self.folder is None else [f"{self.folder}/{name}" for name in self._names()]

    def _names(self) -> list[str]:
        there = [name for name in self.files.optional if Path(self.folder, name).is_file()]
        return [*self.files.required, *there]

    def whereabouts(self) -> dict[str, str]:
        """See `ImportedTarget.whereabouts`."""
        if self.repo is None:
            return super().whereabouts()
        return {"from": f"https://huggingface.co/{self.repo}", "revision": self.commit, "kept in": str(hub_cache())}

    def missing(self) -> list[str]:
        """See `ImportedTarget.missing`."""
        if self.repo is None:
            return super().missing()
        return [] if cached_pipeline(self.repo, self.commit, self.files) else [f"{self.repo}, to be downloaded"]

    def fetch(self) -> list[SourceFile]:
        """See `ImportedTarget.fetch`; files are named as in a pipeline's folder."""
        if self.folder is None:
            return fetch_pipeline(self.repo, self.commit, self.files)
        return [SourceFile.of(f"{self.folder}/{name}", name) for name in self._names()]

    def copy(self, files: dict[str, Path], image_shape: tuple[int, int, int], folder: Path) -> None:
        """See `ImportedTarget.copy`."""
        configs = {name: json.loads(path.read_text()) for name, path in files.items() if name in self.files.configs}
        self._check_schedule(configs[SCHEDULER])
        self._check(configs, image_shape)
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        self.load(folder)

    @abstractmethod
    def _check(self, configs: dict[str, dict], image_shape: tuple[int, int, int]) -> None:
        """Refuse a pipeline whose parts do not fit each other or the images; `configs` are its JSON files by name."""

    def _check_schedule(self, found: dict) -> None:
        if (kind := found.get("prediction_type", "epsilon")) not in self.predictions:
            known = " or ".join(self.predictions)
            raise DiffmiaError(f"{self.place} predicts '{kind}'; attacks need a model that predicts noise ({known})")
        for key, what in (("trained_betas", "betas of its own"), ("rescale_betas_zero_snr", "rescaled betas")):
            if found.get(key):
                raise DiffmiaError(f"{self.place} has {what} ({key}); only linear and scaled_linear are known")
        wanted = {
            "beta_schedule": self.schedule.kind,
            "beta_start": self.schedule.beta_start,
            "beta_end": self.schedule.beta_end,
            "num_train_timesteps": self.schedule.timesteps,
        }
        for key, value in wanted.items():
            if found.get(key) != value:
                raise DiffmiaError(
                    f"{self.place}/scheduler says {key}: {found.get(key)!r}, and the target's schedule in the config "
                    f"says {value!r}; set the target's schedule to the model's"
                )
