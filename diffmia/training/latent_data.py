"""What a latent diffusion model is trained on: latents of images, with the captions' token ids."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diffmia.captions.texts import CAPTION, texts_of
from diffmia.errors import DiffmiaError
from diffmia.files.images import open_images
from diffmia.models.networks.latent import tokens_of
from diffmia.training.autoencoder import fit_autoencoder, latents_of
from diffmia.training.data import Drawn, TrainingData, TrainingFiles, TrainingSet

if TYPE_CHECKING:
    from diffmia.models.latent_diffusion import LatentDiffusion

VAE = "vae"  # folder of the autoencoder in a pipeline's, and in the one that a killed job goes on from


class CaptionedLatents(TrainingSet):
    """Latents with what the model is told of each.

    Parameters
    ----------
    latents : Tensor (N, c, h, w)
        The samples.
    tokens : Tensor (N, L), int64
        Token ids of their captions.
    empty : Tensor (L,), int64
        Token ids of the empty prompt.
    caption_dropout : float
        Share of the captions that give way to it in an epoch.
    """

    def __init__(self, latents: Tensor, tokens: Tensor, empty: Tensor, caption_dropout: float):
        self.latents, self.tokens, self.empty, self.caption_dropout = latents, tokens, empty, caption_dropout

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, rows: np.ndarray) -> Drawn:
        """See `TrainingSet.batch`."""
        return self.latents[rows], self.tokens[rows]

    def augmented(self, rows: np.ndarray, generator: torch.Generator) -> Drawn:
        """See `TrainingSet.augmented`."""
        latents, tokens = self.batch(rows)
        dropped = torch.rand(len(latents), generator=generator) < self.caption_dropout
        return latents, torch.where(dropped[:, None], self.empty, tokens)


@dataclass(frozen=True)
class LatentTrainingData(TrainingData):
    """Latents, and the folder of the autoencoder that made them."""

    vae: Path

    def save_parts(self, folder: Path) -> None:
        """See `TrainingData.save_parts`: the autoencoder."""
        shutil.copytree(self.vae, Path(folder) / VAE)


def prepare_latents(spec: LatentDiffusion, files: TrainingFiles, device: torch.device) -> TrainingData:
    """Fit the autoencoder, if no killed job did, and make latents and token ids of a split's images and captions.

    The autoencoder is fitted on all of the split's auxiliary images, by a seed of the split: a target and its null
    targets have the same one. It is what is public, and saw neither members nor non-members. A null target is trained
    on half of the images that it saw, and compared with the other half, so it tells these apart no more than members
    from non-members; and an attack that learns from null targets meets the same latent space in its target.

    Raises
    ------
    DiffmiaError
        If the split has no auxiliary samples, or a sample has no caption.
    """
    pixels, public = open_images(files.images), np.array(files.split["auxiliary"], dtype=np.int64)
    if not len(public):
        raise DiffmiaError(
            f"the autoencoder of split '{spec.split}' is fitted on auxiliary samples, of which it has none (auxiliary)"
        )
    folder = files.resume / VAE
    if not folder.exists():
        fit_autoencoder(spec.autoencoder, pixels[public], _seed(files.split), folder, device)
    encoder = spec.load_image_encoder(files.resume).to(device).eval()
    sides = files.trained, files.roles["auxiliary"]
    texts = texts_of(CAPTION, files.samples, None, np.concatenate(sides))
    tokenizer = spec.text.tokenizer()
    [empty] = tokens_of(tokenizer, [""])
    return LatentTrainingData(
        *(
            CaptionedLatents(
                latents_of(encoder, pixels[ids], device),
                tokens_of(tokenizer, [texts[i] for i in ids.tolist()]),
                empty,
                spec.training.caption_dropout,
            )
            for ids in sides
        ),
        vae=folder,
    )


def _seed(split: dict) -> int:
    """Of the autoencoder: of two numbers, as halves of the auxiliary samples are drawn by seeds of one."""
    sequence = np.random.SeedSequence(split["seed"], spawn_key=(0, 0))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
