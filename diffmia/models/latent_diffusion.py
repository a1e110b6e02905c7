"""Latent diffusion (Rombach et al. 2022) at a small size: a U-Net in an autoencoder's latent space, told a text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, StringConstraints, model_validator

from diffmia.errors import DiffmiaError
from diffmia.models.base import TrainedTarget, TrainingSpec
from diffmia.models.ddpm_unet import UNetShape
from diffmia.models.latent import LatentTarget
from diffmia.spec import Spec

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTokenizer

    from diffmia.denoisers.denoiser import Denoiser
    from diffmia.models.networks.latent import TextEncoder

Word = Annotated[str, StringConstraints(pattern=r"^[a-z]+$")]


class AutoencoderSpec(Spec):
    """The autoencoder, and how it is fitted before the denoiser is trained: on auxiliary images alone."""

    channels: tuple[PositiveInt, ...] = Field(
        (16, 32), min_length=1, description="Channels at each resolution; the side is halved after each but the last"
    )
    latent_channels: PositiveInt = Field(4, description="Channels of a latent")
    layers_per_block: PositiveInt = Field(1, description="Residual blocks at each resolution")
    norm_groups: PositiveInt = Field(
        8, description="Groups of the group normalisation; divides every entry of channels"
    )
    epochs: PositiveInt = Field(description="Passes over the auxiliary images")
    batch_size: PositiveInt = Field(64, description="Images per step")
    learning_rate: float = Field(2e-3, gt=0, description="Adam's learning rate")
    kl_weight: NonNegativeFloat = Field(
        1e-4, description="Weight of the posterior's divergence from a normal distribution beside the squared error"
    )

    @model_validator(mode="after")
    def _groups_divide(self) -> AutoencoderSpec:
        if odd := [width for width in self.channels if width % self.norm_groups]:
            raise ValueError(f"norm_groups {self.norm_groups} does not divide channels {odd}")
        return self

    def latent_shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of the latent of an image of shape (C, H, W).

        Raises
        ------
        DiffmiaError
            If the image cannot be halved so often.
        """
        _, height, width = image_shape
        factor = 2 ** (len(self.channels) - 1)
        if height % factor or width % factor:
            raise DiffmiaError(
                f"images of {height}x{width} cannot be divided by the {factor} of the target's autoencoder; list fewer "
                "autoencoder.channels or prepare the images in another size"
            )
        return self.latent_channels, height // factor, width // factor

    def build(self, image_shape: tuple[int, int, int]) -> AutoencoderKL:
        """An autoencoder with fresh weights."""
        from diffusers import AutoencoderKL

        channels, height, _ = image_shape
        return AutoencoderKL(
            in_channels=channels,
            out_channels=channels,
            latent_channels=self.latent_channels,
            block_out_channels=self.channels,
            down_block_types=("DownEncoderBlock2D",) * len(self.channels),
            up_block_types=("UpDecoderBlock2D",) * len(self.channels),
            layers_per_block=self.layers_per_block,
            norm_num_groups=self.norm_groups,
            sample_size=height,
            scaling_factor=1.0,  # until it is fitted
        )


class TextSpec(Spec):
    """The text encoder, which is trained with the U-Net, and its tokenizer."""

    words: tuple[Word, ...] = Field(
        min_length=1,
        description="Words that are one token each, in letters a to z: those of the captions. Given here and not "
        "learned from captions, so that the tokenizer tells nothing of the members; other texts are spelled",
    )
    tokens: PositiveInt = Field(16, ge=3, description="Tokens of a text, its start and end included; more are cut off")
    width: PositiveInt = Field(32, description="Numbers of an embedding")
    layers: PositiveInt = Field(1, description="Layers of the transformer")
    heads: PositiveInt = Field(2, description="Heads of its attention; divides the width")

    @model_validator(mode="after")
    def _heads_divide(self) -> TextSpec:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of the {self.heads} heads")
        return self

    def tokenizer(self) -> CLIPTokenizer:
        """The tokenizer of the words."""
        from diffmia.models.networks.clip_tokenizer import clip_tokenizer

        return clip_tokenizer(self.words, self.tokens)

    def build(self) -> TextEncoder:
        """A text encoder with fresh weights."""
        from transformers import CLIPTextConfig, CLIPTextModel

        from diffmia.models.networks.latent import TextEncoder

        tokenizer = self.tokenizer()
        config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.width,
            intermediate_size=4 * self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.tokens,
            projection_dim=self.width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return TextEncoder(CLIPTextModel(config), tokenizer)


class ToldUNetShape(UNetShape):
    """Size of the U-Net, which attends to the text where it attends to itself; the middle always does."""

    heads: PositiveInt = Field(2, description="Heads of the attention; divides the channels where there is attention")

    @model_validator(mode="after")
    def _heads_divide(self) -> ToldUNetShape:
        attending = [*(c for c, a in zip(self.channels, self.attention_at, strict=True) if a), self.channels[-1]]
        if odd := sorted({width for width in attending if width % self.heads}):
            raise ValueError(f"channels {odd} are no multiples of the {self.heads} heads of their attention")
        return self

    def build(self, image_shape: tuple[int, int, int], **options: Any) -> UNet2DConditionModel:
        """A network with fresh weights, for latents of shape (C, H, W); `options`: of `UNet2DConditionModel`."""
        from diffusers import UNet2DConditionModel

        attention = self.attention_at
        settings = {
            "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
            "attention_head_dim": self.heads,  # which is what diffusers calls their number here
        }
        return UNet2DConditionModel(**self.settings(image_shape) | settings | options)


class LatentTrainingSpec(TrainingSpec):
    """How the U-Net and the text encoder are trained together, on latents of the members."""

    horizontal_flip: Literal[False] = Field(False, description="Latents are made once, of images as they are")
    caption_dropout: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the captions that give way to the empty prompt, so that it means something",
    )


class LatentDiffusion(LatentTarget, TrainedTarget):
    """A latent diffusion model, trained by this workflow on captioned images.

    The autoencoder is fitted on the split's auxiliary images, as Stable Diffusion's was on other data than the
    members: all that a target on this split and its null targets know of the members is in the denoiser.
    """

    preparation: ClassVar = "diffmia.training.latent_data:prepare_latents"

    family: Literal["latent_diffusion"]
    autoencoder: AutoencoderSpec = Field(description="Autoencoder, whose latents are noised")
    text: TextSpec = Field(description="Text encoder and tokenizer")
    model: ToldUNetShape = Field(description="Size of the U-Net")
    training: LatentTrainingSpec = Field(description="How the U-Net and the text encoder are trained")

    def build(self, image_shape: tuple[int, int, int]) -> Denoiser:
        """See `TrainedTarget.build`; it is told token ids."""
        from diffmia.denoisers.schedules import DiscreteSchedule
        from diffmia.models.networks.latent import LatentDenoiser, TokenDenoiser

        shape = self.autoencoder.latent_shape(image_shape)
        unet = self.model.build(shape, cross_attention_dim=self.text.width)
        return TokenDenoiser(LatentDenoiser(unet, DiscreteSchedule.from_spec(self.schedule)), self.text.build())

    def save(self, denoiser: Denoiser, folder: Path) -> None:
        """See `TrainedTarget.save`; the autoencoder was made before (`TrainingData.save_parts`)."""
        from diffmia.models.networks.latent import save_pipeline

        save_pipeline(denoiser, self.schedule, folder)
