"""Vision models of the transformers library's own classes with few and random weights, in the layout of the hub."""

from __future__ import annotations

import json

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *("a", "photo", "of", "the", "cat", "dog", "##s", "on", "red")]
BEGIN = len(WORDS)  # the token that begins a caption is none of the tokenizer's, as in the published model
LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {**LAYERS, "image_size": 16, "patch_size": 8, "projection_dim": 8, "initializer_range": 0.02}


def save_blip(folder, pickled=False):
    """A captioner; `pickled`: with the weights as torch.save writes them, and files as old releases wrote them."""
    text = {
        **LAYERS,
        "vocab_size": BEGIN + 1,
        "encoder_hidden_size": 16,
        "projection_dim": 8,
        "bos_token_id": BEGIN,
        "eos_token_id": 2,
        "sep_token_id": 3,
        "pad_token_id": 0,
        "max_position_embeddings": 32,
    }
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION, projection_dim=8)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # so that what is said depends on what is seen
            weight.mul_(40 if "crossattention" in name or "patch" in name else 10 if weight.dim() > 1 else 1)
    BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        positions = {"text_decoder.bert.embeddings.position_ids": torch.arange(32)[None]}
        torch.save(model.state_dict() | positions, folder / "pytorch_model.bin")
        (folder / "generation_config.json").unlink()
        _edit(folder / "config.json", lambda config: config["text_config"].update(max_length=20, num_beams=1, top_k=50))
        _edit(folder / "preprocessor_config.json", lambda config: config.update(do_pad=True, size_divisor=32))
        _edit(folder / "tokenizer_config.json", lambda config: config.update(special_tokens_map_file=None))
    return model


def save_clip(folder):
    """A model of images and texts, and how it sees images."""
    text = {**LAYERS, "vocab_size": 20, "max_position_embeddings": 16, "projection_dim": 8}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)).eval()
    size = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    CLIPImageProcessorPil(**size).save_pretrained(folder)
    model.save_pretrained(folder)
    return model


def _edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
