"""What every captioner says of itself in `config.yaml`, whatever its family."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from diffmia.models.hosted import HostedModel
from diffmia.spec import Sha256

if TYPE_CHECKING:
    import numpy as np
    import torch


class CaptionerSpec(HostedModel):
    """A model that writes a sentence about an image, from a folder or from the Hugging Face hub."""

    sha256: Sha256 | None = Field(
        None, description="Checksum of the file with its weights; null: the register's, or any if that has none"
    )
    batch_size: PositiveInt = Field(16, description="Images per model call; changes no caption")

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
