"""A text-to-image model that was trained elsewhere: a Stable-Diffusion-style folder, or a repository of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Literal

from diffmia.errors import DiffmiaError
from diffmia.models.hub import HubFiles
from diffmia.models.latent import LatentTarget
from diffmia.models.pipelines import SCHEDULER, PipelineTarget

INDEX, UNET, VAE, TEXT = "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json"


class DiffusersLatentDiffusion(LatentTarget, PipelineTarget):
    """A `StableDiffusionPipeline` that predicts noise or velocity, without its safety checker.

    Its images are in the size of the split's dataset, which need not be the one that it was trained for.
    """

    files: ClassVar = HubFiles(
        "a Stable Diffusion pipeline with it",
        (
            *(INDEX, SCHEDULER, UNET, "unet/diffusion_pytorch_model.safetensors"),
            *(VAE, "vae/diffusion_pytorch_model.safetensors", TEXT, "text_encoder/model.safetensors"),
            "tokenizer/tokenizer_config.json",
        ),
        # of two files or of one; tokens of its own, in older ones
        optional=tuple(
            f"tokenizer/{name}"
            for name in ("vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "tokenizer.json")
        ),
    )
    predictions: ClassVar = ("epsilon", "v_prediction")

    family: Literal["diffusers_latent_diffusion"]

    def copy(self, files: dict[str, Path], image_shape: tuple[int, int, int], folder: Path) -> None:
        """See `ImportedTarget.copy`; the index of the copy names the parts that are there."""
        from diffmia.models.networks.latent import NO_OTHER_PARTS

        tokenizer = {name.partition("/")[2] for name in files if name.startswith("tokenizer/")}
        if "tokenizer.json" not in tokenizer and not {"vocab.json", "merges.txt"} <= tokenizer:
            raise DiffmiaError(
                f"{self.place}/tokenizer has neither vocab.json with merges.txt nor tokenizer.json; give a pipeline "
                "with its tokenizer"
            )
        super().copy(files, image_shape, folder)
        index = json.loads((folder / INDEX).read_text()) | NO_OTHER_PARTS
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
        self.load_image_encoder(folder)
        text_encoder = self.load_text_encoder(folder)
        if (words := len(text_encoder.tokenizer)) > (known := text_encoder.model.config.vocab_size):
            raise DiffmiaError(
                f"{self.place}/tokenizer has {words} tokens and its text_encoder embeds {known}; give the tokenizer "
                "that the text encoder was trained with"
            )
        length, room = text_encoder.tokenizer.model_max_length, text_encoder.model.config.max_position_embeddings
        if length > room:
            raise DiffmiaError(
                f"{self.place}/tokenizer makes texts of {length} tokens (model_max_length) and its text_encoder takes "
                f"{room} (max_position_embeddings); set the first to the second in tokenizer_config.json"
            )

    def _check(self, configs: dict[str, dict], image_shape: tuple[int, int, int]) -> None:
        unet, vae, text = configs[UNET], configs[VAE], configs[TEXT]
        if (pipeline := configs[INDEX].get("_class_name")) != "StableDiffusionPipeline":
            raise DiffmiaError(
                f"{self.place} is a {pipeline}; this family reads what diffusers saves as StableDiffusionPipeline"
            )
        if unet.get("addition_embed_type") is not None or unet.get("class_embed_type") is not None:
            raise DiffmiaError(
                f"the U-Net of {self.place} is told more than a text (addition_embed_type, class_embed_type), which no "
                "attack here does"
            )
        latent = vae.get("latent_channels")
        if unet.get("in_channels") != latent or unet.get("out_channels") != latent:
            raise DiffmiaError(
                f"the autoencoder of {self.place} makes latents of {latent} channels, and its U-Net takes "
                f"{unet.get('in_channels')} and gives {unet.get('out_channels')}; they must be the same"
            )
        if text.get("hidden_size") != unet.get("cross_attention_dim"):
            raise DiffmiaError(
                f"the text encoder of {self.place} has width {text.get('hidden_size')} (hidden_size), and its U-Net "
                f"takes {unet.get('cross_attention_dim')} (cross_attention_dim); they must be the same"
            )
        channels, height, width = image_shape
        if vae.get("in_channels") != channels:
            raise DiffmiaError(
                f"the autoencoder of {self.place} takes images of {vae.get('in_channels')} channels, and the split's "
                f"have {channels}; prepare the dataset in the model's"
            )
        for name, config in ((UNET, unet), (VAE, vae)):
            if not config.get("block_out_channels"):
                raise DiffmiaError(f"{self.place}/{name} has no block_out_channels; give a file that diffusers wrote")
        factor, halvings = 2 ** (len(vae["block_out_channels"]) - 1), len(unet["block_out_channels"]) - 1
        if height % (multiple := factor * 2**halvings) or width % multiple:
            raise DiffmiaError(
                f"images of {height}x{width} do not fit {self.place}: its autoencoder divides their side by {factor}, "
                f"and its U-Net halves that {halvings} times, so the sides must be multiples of {multiple}; prepare "
                "the dataset in such a size"
            )
