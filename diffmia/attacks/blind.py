"""Blind baselines: attacks that never ask the model, so that what they find is no membership (arXiv 2406.16201)."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from diffmia.attacks.base import AttackSpec
from diffmia.models.base import TargetSpec
from diffmia.running.failures import NotApplicable
from diffmia.search.probes import Question

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from diffmia.blind.cross_validation import FitPredict


class BlindAttack(AttackSpec):
    """Members told from non-members without a model, by classifiers fitted to other folds of both.

    Where one is above chance, the two sets differ by more than membership, and so may what an attack sees.
    """

    access: ClassVar = "blind"
    answers: ClassVar = None
    learns_from: ClassVar = "folds"
    gpu: ClassVar[int] = 0

    folds: int = Field(5, ge=2, description="Folds of the cross-validation; each sample is judged by a fit without it")

    def inputs(self) -> list[str]:
        """Local files that it reads besides the samples; none by default."""
        return []

    @property
    def supervision(self) -> str:
        """See `AttackSpec.supervision`."""
        return "cross-validated"

    def refuses(self, target: TargetSpec, t: int | None, auxiliary: int | None) -> str | None:
        """See `AttackSpec.refuses`; no target is asked."""
        return None

    def questions(self, t: int | None) -> list[Question]:
        """See `AttackSpec.questions`."""
        return []

    def queries(self, t: int | None) -> dict[str, int]:
        """See `AttackSpec.queries`; there is no step to add one to."""
        return {"base": 0}

    @abstractmethod
    def learner(self, images: np.ndarray, samples: pd.DataFrame, device: torch.device | None) -> FitPredict:
        """What is fitted to the training rows of a fold and scores the others, whose membership it is not given.

        Rows are those of images uint8 (N, C, H, W), which may be `ChosenImages`, and of their lines of samples.parquet.
        `device` is None if `gpu` is 0.

        Raises
        ------
        NotApplicable
            If no sample has what the baseline reads.
        """


class BlindStatistics(BlindAttack):
    """Logistic regression on statistics of pixels and colours, and on the size of the image as a PNG."""

    family: Literal["blind_statistics"]

    def learner(self, images: np.ndarray, samples: pd.DataFrame, device: torch.device | None) -> FitPredict:
        """See `BlindAttack.learner`."""
        from diffmia.blind.statistics import image_statistics
        from diffmia.blind.table import logistic_regression

        return logistic_regression(image_statistics(images))


class BlindCNN(BlindAttack):
    """A small convolutional network on pixels."""

    gpu: ClassVar[int] = 1

    family: Literal["blind_cnn"]
    epochs: PositiveInt = Field(5, description="Passes over a fold's training samples; none is chosen on the others")
    batch_size: PositiveInt = Field(64, description="Images per step")
    learning_rate: float = Field(3e-3, gt=0, description="Learning rate at the start, which falls to 0 by a cosine")
    weight_decay: NonNegativeFloat = Field(0.01, description="Weight decay")

    def learner(self, images: np.ndarray, samples: pd.DataFrame, device: torch.device | None) -> FitPredict:
        """See `BlindAttack.learner`."""
        from diffmia.blind.cnn import network

        return network(
            images,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            device=device,
        )


class BlindCaptions(BlindAttack):
    """Logistic regression on the words of the dataset's captions, and on how they are written."""

    needs: ClassVar = "captions"

    family: Literal["blind_captions"]

    def learner(self, images: np.ndarray, samples: pd.DataFrame, device: torch.device | None) -> FitPredict:
        """See `BlindAttack.learner`."""
        from diffmia.blind.captions import caption_regression

        captions = samples["caption"]
        if captions.isna().all():
            raise NotApplicable(f"none of the {len(captions)} samples has a caption")
        return caption_regression(captions.fillna("").tolist())


class BlindFiles(BlindAttack):
    """Logistic regression on the size of the files that the images came in: pixels and bytes."""

    needs: ClassVar = "files"

    family: Literal["blind_files"]

    def learner(self, images: np.ndarray, samples: pd.DataFrame, device: torch.device | None) -> FitPredict:
        """See `BlindAttack.learner`."""
        from diffmia.blind.files import COLUMNS, file_statistics
        from diffmia.blind.table import logistic_regression

        if samples[list(COLUMNS)].isna().any(axis="columns").all():
            raise NotApplicable(f"none of the {len(samples)} samples came in a file of its own")
        return logistic_regression(file_statistics(samples))


class BlindCLIP(BlindAttack):
    """Logistic regression on CLIP's embeddings of the images."""

    gpu: ClassVar[int] = 1

    family: Literal["blind_clip"]
    folder: str = Field(
        description="A CLIP in the layout of transformers: config.json, preprocessor_config.json, model.safetensors"
    )

    def inputs(self) -> list[str]:
        """See `BlindAttack.inputs`."""
        return [f"{self.folder}/{name}" for name in ("config.json", "preprocessor_config.json", "model.safetensors")]

    def learner(self, images: np.ndarray, samples: pd.DataFrame, device: torch.device | None) -> FitPredict:
        """See `BlindAttack.learner`."""
        from diffmia.blind.clip import image_embeddings
        from diffmia.blind.table import logistic_regression

        return logistic_regression(image_embeddings(Path(self.folder), images, device))
