"""A DDPM that was trained elsewhere and saved as a diffusers `DDPMPipeline`: a folder, or a repository of the hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from diffmia.errors import DiffmiaError
from diffmia.models.base import ImportedTarget
from diffmia.models.hub import PIPELINE, cached_pipeline, fetch_pipeline, hub_cache
from diffmia.models.published import PublishedModel, Revision, published_models
from diffmia.models.schedule import ScheduleSpec
from diffmia.receipts import SourceFile

if TYPE_CHECKING:
    from diffmia.denoiser import Denoiser

Repository = Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]


class DiffusersDDPM(ImportedTarget):
    """An unconditional `UNet2DModel` that predicts noise, from a folder or from the Hugging Face hub.

    Its split says which samples it was trained on.
    """

    kind: ClassVar = "ddpm"

    family: Literal["diffusers_ddpm"]
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec, description="Forward process")
    folder: str | None = Field(None, description="The pipeline's folder, with unet/ (safetensors) and scheduler/")
    repo: Repository | None = Field(None, description="In place of a folder: a repository of the Hugging Face hub")
    revision: Revision | None = Field(None, description="Commit of `repo`; null: the one in the register")

    @model_validator(mode="after")
    def _is_from_one_place(self) -> DiffusersDDPM:
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
        """See `ImportedTarget.inputs`."""
        return [] if self.folder is None else [f"{self.folder}/{name}" for name in PIPELINE]

    def whereabouts(self) -> dict[str, str]:
        """See `ImportedTarget.whereabouts`."""
        if self.repo is None:
            return super().whereabouts()
        return {"from": f"https://huggingface.co/{self.repo}", "revision": self.commit, "kept in": str(hub_cache())}

    def missing(self) -> list[str]:
        """See `ImportedTarget.missing`."""
        if self.repo is None:
            return super().missing()
        return [] if cached_pipeline(self.repo, self.commit) else [f"{self.repo}, to be downloaded"]

    def fetch(self) -> list[SourceFile]:
        """See `ImportedTarget.fetch`; files are named as in a pipeline's folder."""
        if self.folder is None:
            return fetch_pipeline(self.repo, self.commit)
        return [SourceFile.of(path, name) for path, name in zip(self.inputs(), PIPELINE, strict=True)]

    def copy(self, files: dict[str, Path], image_shape: tuple[int, int, int], folder: Path) -> None:
        """See `ImportedTarget.copy`."""
        config, _, scheduler = PIPELINE
        self._check_schedule(json.loads(files[scheduler].read_text()))
        self._check_shape(json.loads(files[config].read_text()), image_shape)
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        self.load(folder)

    def load(self, folder: Path) -> Denoiser:
        """See `TargetSpec.load`."""
        from diffmia.models.networks.unet import load_unet

        return load_unet(folder, self.schedule)

    def _check_schedule(self, found: dict) -> None:
        if (kind := found.get("prediction_type", "epsilon")) != "epsilon":
            raise DiffmiaError(f"{self.place} predicts '{kind}'; attacks need a model that predicts noise (epsilon)")
        if found.get("trained_betas") is not None:
            raise DiffmiaError(
                f"{self.place} has betas of its own (trained_betas); only linear and scaled_linear are known"
            )
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

    def _check_shape(self, found: dict, image_shape: tuple[int, int, int]) -> None:
        channels, height, width = image_shape
        size = found.get("sample_size")
        size = [size, size] if isinstance(size, int) else size
        if found.get("in_channels") != channels or (size is not None and list(size) != [height, width]):
            raise DiffmiaError(
                f"{self.place} takes images of {found.get('in_channels')} channels and size {size}, and the split's "
                f"images have {channels} channels and size {[height, width]}; prepare the dataset in the model's size"
            )
