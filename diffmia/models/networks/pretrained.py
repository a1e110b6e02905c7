"""Models of the transformers library from a folder: no network, no code of the folder's, no word in the log."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from diffmia.errors import DiffmiaError

# what the library raises for files that are not what they are taken for depends on the file and on what is wrong
_UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
    SafetensorError,
)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's warnings and progress bars, which are of its own affairs."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


def load_model(kind: type, weights: Path, device: torch.device) -> Any:
    """A model of a class of the library, in float32 and for inference, from `weights` and the config.json beside them.

    Weights of safetensors, or of torch.save, of which nothing but tensors is unpickled.

    Raises
    ------
    DiffmiaError
        If the folder is not that of such a model, or its weights lack some of the model's.
    """
    with _read(kind, weights):
        if weights.suffix == ".safetensors":
            state = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        config = kind.config_class.from_pretrained(weights.parent, local_files_only=True)
        model, found = kind.from_pretrained(
            None, config=config, state_dict=state, dtype=torch.float32, output_loading_info=True
        )
    if missing := sorted(found["missing_keys"]):
        raise DiffmiaError(
            f"{weights} is no {kind.__name__}: it lacks {len(missing)} of its weights (first {missing[0]})"
        )
    return model.to(device).eval().requires_grad_(False)


def load_part(kind: type, file: Path) -> Any:
    """A tokenizer or an image processor of a class of the library, from the folder of `file`.

    Raises
    ------
    DiffmiaError
        If the folder has none.
    """
    with _read(kind, file):
        return kind.from_pretrained(file.parent, local_files_only=True)


def pixel_values(processor: Any, images: np.ndarray) -> Tensor:
    """What a model sees of images uint8 (B, C, H, W), as its image processor makes it: float32 (B, 3, h, w).

    Grey images have their one channel three times.

    Raises
    ------
    DiffmiaError
        If images have neither one nor three channels.
    """
    if images.shape[1] not in (1, 3):
        raise DiffmiaError(f"images have {images.shape[1]} channels; a model of photographs sees grey (1) and RGB (3)")
    colour = np.broadcast_to(images, (len(images), 3, *images.shape[2:]))
    made = processor(
        images=[np.array(image) for image in colour], input_data_format="channels_first", return_tensors="pt"
    )
    return made["pixel_values"]


@contextmanager
def _read(kind: type, file: Path) -> Iterator[None]:
    try:
        with quiet():
            yield
    except _UNREADABLE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DiffmiaError(f"cannot read {file} as {kind.__name__} of transformers: {reason}") from error
