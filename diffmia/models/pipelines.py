"""Targets that were trained elsewhere and saved as a diffusers pipeline: a folder, or a repository of the hub."""

from __future__ import annotations

import json
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from diffmia.errors import DiffmiaError
from diffmia.models.base import ImportedTarget
from diffmia.models.hosted import HostedModel
from diffmia.models.published import PublishedModel, published_models

SCHEDULER = "scheduler/scheduler_config.json"


class PipelineTarget(HostedModel, ImportedTarget):
    """A diffusers pipeline, from a folder or from the Hugging Face hub. Its split says what it was trained on."""

    predictions: ClassVar[tuple[str, ...]] = ("epsilon",)  # what its network may predict

    @property
    def published(self) -> PublishedModel | None:
        """See `ImportedTarget.published`; a repository in the register needs no `origin`."""
        return published_models()[self.origin] if self.origin else HostedModel.published.fget(self)

    @property
    def published_name(self) -> str | None:
        """See `ImportedTarget.published_name`."""
        return HostedModel.published_name.fget(self) or self.origin

    def whereabouts(self) -> dict[str, str]:
        """See `ImportedTarget.whereabouts`."""
        return HostedModel.whereabouts(self) if self.repo else ImportedTarget.whereabouts(self)

    def copy(self, files: dict[str, Path], image_shape: tuple[int, int, int], folder: Path) -> None:
        """See `ImportedTarget.copy`."""
        configs = {name: self._config(name, path) for name, path in files.items() if name in self.files.configs}
        self._check_schedule(configs[SCHEDULER])
        self._check(configs, image_shape)
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        self.load(folder)

    @abstractmethod
    def _check(self, configs: dict[str, dict], image_shape: tuple[int, int, int]) -> None:
        """Refuse a pipeline whose parts do not fit each other or the images; `configs` are its JSON files by name."""

    def _config(self, name: str, path: Path) -> dict:
        try:
            found = json.loads(path.read_text())
        except ValueError as error:  # no text, or no JSON
            raise DiffmiaError(f"{self.place}/{name} is no JSON file: {error}") from error
        if not isinstance(found, dict):
            raise DiffmiaError(f"{self.place}/{name} is no JSON object but {found!r:.40}")
        return found

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
