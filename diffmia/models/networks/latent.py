"""A text-to-image latent diffusion model of diffusers' Stable Diffusion layout: its denoiser and its two encoders.

The denoiser is asked about latents and is told embeddings; an encoder of images and one of texts make them, each once,
before any attack. Guidance is 1: one call of the U-Net, with the condition alone. Only safetensors are read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import Schedule
from diffmia.errors import DiffmiaError
from diffmia.models.networks.pretrained import load_part, quiet
from diffmia.models.networks.scheduler import ddpm_scheduler
from diffmia.models.schedule import ScheduleSpec

EPSILON, VELOCITY = "epsilon", "v_prediction"

# of a pipeline's index: parts that Stable Diffusion may have and that nothing here asks
NO_OTHER_PARTS = {part: [None, None] for part in ("safety_checker", "feature_extractor", "image_encoder")}
NO_OTHER_PARTS |= {"requires_safety_checker": False}

_READ = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}


class LatentDenoiser(Denoiser):
    """Noise prediction in latent space by a U-Net that is told a text.

    Parameters
    ----------
    unet : UNet2DConditionModel
        Predicts what `prediction` says, in the shape of its input.
    schedule : Schedule
        What it was trained with.
    prediction : str
        `EPSILON` or `VELOCITY`.
    """

    def __init__(self, unet: UNet2DConditionModel, schedule: Schedule, prediction: str = EPSILON):
        super().__init__()
        self.unet, self.schedule, self.prediction = unet, schedule, prediction

    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        """See `Denoiser.predict_noise`; `x_t` are noised latents, `condition` embeddings (B, L, D)."""
        time = self.schedule.time(t).to(x_t.device)
        predicted = self.unet(x_t, time, encoder_hidden_states=condition).sample
        return predicted if self.prediction == EPSILON else self.schedule.epsilon_of_velocity(x_t, predicted, t)


class ImageEncoder(nn.Module):
    """Latents of images: the mode of the autoencoder's posterior, in the scale that the U-Net works in."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, images: Tensor) -> Tensor:
        """Latents (B, c, h, w) of images (B, C, H, W) in [-1, 1]."""
        config = self.vae.config
        mode = self.vae.encode(images).latent_dist.mode()
        return (mode - (config.shift_factor or 0.0)) * config.scaling_factor


class TextEncoder(nn.Module):
    """Embeddings of texts: the last hidden state of every token, padding included, as Stable Diffusion is told them."""

    def __init__(self, model: CLIPTextModel, tokenizer: CLIPTokenizer):
        super().__init__()
        self.model, self.tokenizer = model, tokenizer

    def tokens(self, texts: list[str]) -> Tensor:
        """See `tokens_of`."""
        return tokens_of(self.tokenizer, texts)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeddings (B, L, D) of token ids (B, L)."""
        return self.model(tokens).last_hidden_state


def tokens_of(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids of texts, int64 (B, L): padded to the tokenizer's length, and cut off there."""
    length = tokenizer.model_max_length
    return tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids


class TokenDenoiser(Denoiser):
    """A latent denoiser that is told token ids and embeds them itself, so that both of its parts are trained."""

    def __init__(self, denoiser: LatentDenoiser, text_encoder: TextEncoder):
        super().__init__()
        self.denoiser, self.text_encoder, self.schedule = denoiser, text_encoder, denoiser.schedule

    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        """See `Denoiser.predict_noise`; `condition` are token ids, int64 (B, L)."""
        return self.denoiser.predict_noise(x_t, t, self.text_encoder(condition))


def save_pipeline(denoiser: TokenDenoiser, schedule: ScheduleSpec, folder: Path) -> None:
    """Write all of a `StableDiffusionPipeline` folder but its autoencoder, which was there before: `vae/`."""
    scheduler = ddpm_scheduler(
        schedule,
        prediction_type=EPSILON,
        clip_sample=False,  # latents are not in [-1, 1]
        steps_offset=1,  # as pipelines of this kind have it
    )
    parts = {
        "unet": denoiser.denoiser.unet,
        "text_encoder": denoiser.text_encoder.model,
        "tokenizer": denoiser.text_encoder.tokenizer,
        "scheduler": scheduler,
    }
    with quiet():
        for name, part in parts.items():
            part.save_pretrained(Path(folder) / name)
    index = {name: [type(part).__module__.partition(".")[0], type(part).__name__] for name, part in parts.items()}
    index |= {"vae": ["diffusers", AutoencoderKL.__name__]} | NO_OTHER_PARTS
    index |= {"_class_name": "StableDiffusionPipeline", "_diffusers_version": diffusers.__version__}
    (Path(folder) / "model_index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def load_denoiser(folder: Path, schedule: Schedule) -> LatentDenoiser:
    """The denoiser of a pipeline's folder.

    Raises
    ------
    DiffmiaError
        If the folder lacks weights of it.
    """
    scheduler = json.loads((Path(folder) / "scheduler" / "scheduler_config.json").read_text())
    unet = _component(UNet2DConditionModel, folder, "unet", torch_dtype=torch.float32, low_cpu_mem_usage=False)
    return LatentDenoiser(unet, schedule, prediction_type(scheduler))


def load_image_encoder(folder: Path) -> ImageEncoder:
    """The encoder of images of a pipeline's folder; see `load_denoiser`."""
    return ImageEncoder(_component(AutoencoderKL, folder, "vae", torch_dtype=torch.float32, low_cpu_mem_usage=False))


def load_text_encoder(folder: Path) -> TextEncoder:
    """The encoder of texts of a pipeline's folder; see `load_denoiser`."""
    model = _component(CLIPTextModel, folder, "text_encoder", dtype=torch.float32)
    return TextEncoder(model, load_part(CLIPTokenizer, Path(folder) / "tokenizer" / "tokenizer_config.json"))


def prediction_type(scheduler: dict) -> str:
    """What a model predicts, by its scheduler's configuration."""
    return scheduler.get("prediction_type", EPSILON)  # as diffusers has it for those that are older than the key


def _component(kind: type, folder: Path, name: str, **settings: Any) -> Any:
    """A part of a pipeline, whole: the libraries would give weights that a file lacks random values."""
    try:
        with quiet():
            model, found = kind.from_pretrained(Path(folder) / name, **_READ, **settings)
    except Exception as error:  # what the libraries say of a file that is absent, damaged or another model's
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise DiffmiaError(f"{folder}/{name} cannot be read as {kind.__name__} in safetensors: {said}") from error
    if missing := sorted(found["missing_keys"]):
        raise DiffmiaError(
            f"{folder}/{name} lacks {len(missing)} weights of the {kind.__name__} that its configuration describes "
            f"(first {missing[0]}); give a pipeline that is whole"
        )
    return model
