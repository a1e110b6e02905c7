"""What a target is asked about: samples as it takes them, pixels or latents, and what it is told beside each."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffmia.errors import DiffmiaError
from diffmia.files.images import to_unit_range


@dataclass(frozen=True)
class Batch:
    """Some samples, ready for a model.

    Attributes
    ----------
    ids : int64 array (B,)
        Which samples they are.
    x0 : float32 Tensor (B, C, H, W)
        The samples, in the range that the model works in.
    told : dict
        By condition what a conditional model is told, Tensor (B, L, D); None for a model that is told nothing.
    """

    ids: np.ndarray
    x0: Tensor
    told: Mapping[str, Tensor | None]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x0.shape[1:])


class Inputs(ABC):
    """All samples of a dataset by their ids."""

    @abstractmethod
    def x0(self, ids: np.ndarray) -> Tensor:
        """The samples of these ids, float32 (B, C, H, W)."""

    @abstractmethod
    def told(self, condition: str, ids: np.ndarray) -> Tensor | None:
        """What the model is told about each, float32 (B, L, D), or None."""

    def texts(self, condition: str, ids: np.ndarray) -> str | None:
        """A hash of the texts that the model is told of these samples; None if it is told none."""
        return None

    def batch(self, ids: np.ndarray, conditions: Iterable[str], device: torch.device) -> Batch:
        """The samples of these ids with what the model is told about them under each of the conditions."""
        told = {condition: self.told(condition, ids) for condition in dict.fromkeys(conditions)}
        told = {condition: tensor if tensor is None else tensor.to(device) for condition, tensor in told.items()}
        return Batch(ids, self.x0(ids).to(device), told)


class Pixels(Inputs):
    """Images of a dataset, uint8 (N, C, H, W), for a model that is told nothing."""

    def __init__(self, images: np.ndarray):
        self.images = images

    def x0(self, ids: np.ndarray) -> Tensor:
        """See `Inputs.x0`; in [-1, 1]."""
        return to_unit_range(self.images[ids])

    def told(self, condition: str, ids: np.ndarray) -> None:
        """See `Inputs.told`."""
        if condition != "none":
            raise DiffmiaError(f"the target is told no text, and was to be asked under condition '{condition}'")


class Latents(Inputs):
    """Latents of a dataset with embeddings of the texts that the model is told, both mapped from disk.

    Parameters
    ----------
    shards : sequence of path
        `.npy` files, float32 (n, C, H, W), which follow each other in the order of the samples.
    embeddings : sequence of path
        One `<condition>.npy` for each condition, float32 (K, L, D), a row for each different text. Beside it lie
        `<condition>.index.npy`, int64 (N,), the row of each sample, and `<condition>.meta.json`, with a hash for each
        row.

    Raises
    ------
    DiffmiaError
        If embeddings are of another number of samples than the latents.
    """

    def __init__(self, shards: Sequence[Path], embeddings: Sequence[Path]):
        self._shards = [np.load(path, mmap_mode="r", allow_pickle=False) for path in shards]
        self._starts = np.cumsum([0, *map(len, self._shards)])
        self._told, self._hashes = {}, {}
        for path in map(Path, embeddings):
            of_text, row = (
                np.load(file, mmap_mode="r", allow_pickle=False) for file in (path, path.with_suffix(".index.npy"))
            )
            if len(row) != self._starts[-1]:
                raise DiffmiaError(
                    f"{path} has texts of {len(row)} samples, and there are latents of {self._starts[-1]}; remove it "
                    "and run again"
                )
            self._told[path.stem] = of_text, row
            self._hashes[path.stem] = json.loads(path.with_suffix(".meta.json").read_text())["text_hashes"]

    def x0(self, ids: np.ndarray) -> Tensor:
        """See `Inputs.x0`."""
        shards = np.searchsorted(self._starts, ids, side="right") - 1
        rows = [self._shards[shard][i - self._starts[shard]] for shard, i in zip(shards, ids, strict=True)]
        return torch.from_numpy(np.stack(rows))

    def told(self, condition: str, ids: np.ndarray) -> Tensor:
        """See `Inputs.told`."""
        of_text, row = self._told[condition]
        return torch.from_numpy(np.array(of_text[row[ids]]))

    def texts(self, condition: str, ids: np.ndarray) -> str:
        """See `Inputs.texts`."""
        _, row = self._told[condition]
        return hashlib.sha256("".join(self._hashes[condition][i] for i in row[ids]).encode()).hexdigest()
