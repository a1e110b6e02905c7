"""A text-to-image pipeline with random weights, so small that a call takes milliseconds, in diffusers' own layout."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
LENGTH = 12  # tokens of a text


def tiny_tokenizer():
    """CLIP's own kind, of bytes and one merge."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "ha", "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[("h", "a")], model_max_length=LENGTH)


def tiny_pipeline(*, unet=None, vae=None, text=None, scheduler=None):
    """A `StableDiffusionPipeline` for grey images, whose autoencoder halves the side; settings are changes to it."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    unet_settings = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    vae_settings = {
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "norm_num_groups": 4,
        "sample_size": 16,
    }
    text_settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": LENGTH,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    fixed = {"clip_sample": False, "steps_offset": 1}  # as pipelines of this kind have them, or they warn
    return StableDiffusionPipeline(
        unet=UNet2DConditionModel(**unet_settings | (unet or {})),
        vae=AutoencoderKL(**vae_settings | (vae or {})),
        text_encoder=CLIPTextModel(CLIPTextConfig(**text_settings | (text or {}))),
        tokenizer=tokenizer,
        scheduler=DDPMScheduler(**SCHEDULE | fixed | (scheduler or {})),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
