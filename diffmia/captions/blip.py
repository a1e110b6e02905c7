"""BLIP (Li et al. 2022, arXiv 2201.12086), in the layout of the transformers library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from diffmia.captions.base import CaptionerSpec
from diffmia.models.hub import HubFiles

if TYPE_CHECKING:
    import numpy as np
    import torch


class Blip(CaptionerSpec):
    """`BlipForConditionalGeneration`, told nothing but the image; beam search, which draws nothing at random."""

    files: ClassVar = HubFiles(
        "a captioner of this family",
        (
            *("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"),
            ("model.safetensors", "pytorch_model.bin"),  # the second is a pickle, of which nothing but tensors is read
        ),
    )

    family: Literal["blip"]
    beams: PositiveInt = Field(3, description="Beams of the search; 1: the likeliest token each time")
    min_tokens: PositiveInt = Field(5, description="Tokens of a caption, at least")
    max_tokens: PositiveInt = Field(20, description="Tokens of a caption, at most")

    @model_validator(mode="after")
    def _has_room(self) -> Blip:
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens is {self.min_tokens}, and max_tokens {self.max_tokens} is less")
        return self

    def load(self, files: dict[str, Path], device: torch.device) -> Callable[[np.ndarray], list[str]]:
        """See `CaptionerSpec.load`."""
        import torch
        from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

        from diffmia.models.networks.pretrained import load_model, load_part, pixel_values, quiet

        [weights] = [path for name, path in files.items() if not name.endswith(".json")]
        model = load_model(BlipForConditionalGeneration, weights, device)
        processor = load_part(BlipImageProcessorPil, files["preprocessor_config.json"])
        tokenizer = load_part(BertTokenizer, files["tokenizer.json"])

        @torch.no_grad()
        def describe(images: np.ndarray) -> list[str]:
            with quiet():
                tokens = model.generate(
                    pixel_values(processor, images).to(device),
                    num_beams=self.beams,
                    min_new_tokens=self.min_tokens,
                    max_new_tokens=self.max_tokens,
                    do_sample=False,
                )
            # the first token tells the decoder to begin, and is no word of the tokenizer's
            return [text.strip() for text in tokenizer.batch_decode(tokens[:, 1:], skip_special_tokens=True)]

        return describe
