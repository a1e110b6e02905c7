"""What every text-to-image latent diffusion target shares: its condition, and a folder in Stable Diffusion's layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt, StringConstraints

from diffmia.models.base import TargetSpec
from diffmia.models.schedule import ScheduleSpec

if TYPE_CHECKING:
    from diffmia.models.networks.latent import ImageEncoder, LatentDenoiser, TextEncoder

Condition = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$")]


class LatentTarget(TargetSpec):
    """A latent diffusion model that is told a text; kept as a diffusers `StableDiffusionPipeline` folder."""

    kind: ClassVar = "ldm"
    latent: ClassVar = True

    schedule: ScheduleSpec = Field(
        ScheduleSpec(kind="scaled_linear", beta_start=0.00085, beta_end=0.012), description="Forward process"
    )
    condition: Condition = Field(
        "caption",
        description="What it is told of a sample: none, the empty prompt; caption, the dataset's own caption; or the "
        "captioner's id, for the caption that a captioner gives it",
    )
    encoding_batch_size: PositiveInt = Field(
        8, description="Images, or texts, per call of its encoders; changes numbers by their rounding at most"
    )

    gradient_checkpointing: bool = Field(
        False,
        description="Make activations again in the gradient pass's backward passes, one sample and timestep at a time: "
        "for a model of which more does not fit in memory; changes no number",
    )

    def load(self, folder: Path) -> LatentDenoiser:
        """See `TargetSpec.load`."""
        from diffmia.denoisers.schedules import DiscreteSchedule
        from diffmia.models.networks.latent import load_denoiser

        denoiser = load_denoiser(folder, DiscreteSchedule.from_spec(self.schedule))
        if self.gradient_checkpointing:
            denoiser.unet.enable_gradient_checkpointing()
        return denoiser

    def load_image_encoder(self, folder: Path) -> ImageEncoder:
        """What makes latents of images, from the target's folder."""
        from diffmia.models.networks.latent import load_image_encoder

        return load_image_encoder(folder)

    def load_text_encoder(self, folder: Path) -> TextEncoder:
        """What makes embeddings of texts, from the target's folder."""
        from diffmia.models.networks.latent import load_text_encoder

        return load_text_encoder(folder)
