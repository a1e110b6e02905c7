"""Weights from files that others wrote: read without running anything in them, and put where they belong or refused."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diffmia.errors import DiffmiaError

_torch_load = partial(torch.load, map_location="cpu", weights_only=True)
READERS = {".pth": _torch_load, ".pt": _torch_load, ".safetensors": load_file}
NAMED = 3  # weights that an error names; there may be hundreds


def read_checkpoint(path: Path, part: str | None = None) -> dict[str, Tensor]:
    """The state dict in a file of torch.save or in a `.safetensors` file, on the CPU; no code in it is run.

    Parameters
    ----------
    path : Path
        The file, by its suffix.
    part : str, optional
        Under which name the file has the state dict among other things; by default it is all that the file has.

    Raises
    ------
    DiffmiaError
        If the file cannot be read, lacks the part, or has there anything else than tensors under their names.
    """
    path = Path(path)
    wanted = "give the weights alone, as torch.save(model.state_dict(), path) or safetensors write them"
    if path.suffix not in READERS:
        raise DiffmiaError(f"checkpoint {path} is neither a .pth, a .pt nor a .safetensors file; {wanted}")
    try:
        state = READERS[path.suffix](path)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise DiffmiaError(f"cannot read checkpoint {path}: {error.strerror or error}; correct its path") from error
    except pickle.UnpicklingError as error:
        raise DiffmiaError(
            f"checkpoint {path} holds more than tensors, and reading that could run code of its author, so it is not "
            f"loaded; {wanted}"
        ) from error
    except Exception as error:  # what a damaged file leads to may be an error of any kind
        raise DiffmiaError(f"checkpoint {path} is damaged or no {path.suffix} file; download it again") from error
    if part is not None:
        if not isinstance(state, dict) or part not in state:
            has = _first([str(name) for name in state]) if isinstance(state, dict) else f"a {type(state).__name__}"
            raise DiffmiaError(f"checkpoint {path} has no '{part}'; it has {has}")
        state, path = state[part], f"{path} ({part})"
    if not isinstance(state, dict):
        raise DiffmiaError(f"checkpoint {path} holds a {type(state).__name__}, not a dict of tensors; {wanted}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            kind = type(value).__name__
            raise DiffmiaError(
                f"checkpoint {path}: under {name!r} is a value of type {kind}, no named tensor; {wanted}"
            )
    return dict(state)


def load_state(network: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Give `network` the weights in `state`, which are all of its own and no others; `where` they are from, for errors.

    Raises
    ------
    DiffmiaError
        If names or shapes differ; the network is left as it was.
    """
    own = network.state_dict()
    differ = [
        f"{name} ({tuple(state[name].shape)} there, {tuple(own[name].shape)} in the network)"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    wrong = {
        "lacks": [name for name in own if name not in state],
        "has unknown": [name for name in state if name not in own],
        "has another shape of": differ,
    }
    if said := [f"{how} {_first(names)}" for how, names in wrong.items() if names]:
        raise DiffmiaError(
            f"{where} does not fit the network that it is meant for: it {', '.join(said)}; give the network the sizes "
            "that the weights were trained with"
        )
    network.load_state_dict(state)


def _first(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
