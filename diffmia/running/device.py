"""Which device a job runs on, and with how many threads."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from diffmia.errors import DiffmiaError
from diffmia.running.heap import keep_freed_memory

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_device(wanted: str, gpus: int, threads: int) -> torch.device:
    """The device of a job, with its threads set; CUDA only if the job was given a GPU and one is visible.

    A card is the job's own, as `diffmia.running.cards` says.

    Parameters
    ----------
    wanted : str
        `auto`, `cpu` or `cuda` (then the absence of a GPU is an error).
    gpus : int
        The `gpu` resource the scheduler granted.
    threads : int
        Threads granted; never more are used than the machine has cores.
    """
    import torch

    torch.set_num_threads(max(1, min(threads, available_cores())))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # scores are strict float32
    available = gpus > 0 and torch.cuda.is_available()
    if wanted == "cuda" and not available:
        reason = "no GPU is visible" if gpus > 0 else "the job was given no gpu resource"
        raise DiffmiaError(f"config: device is 'cuda' and {reason}; set device: auto to fall back to the CPU")
    if wanted == "cpu" or not available:
        if wanted == "auto" and gpus > 0:
            log.warning("no GPU is visible; continuing on the CPU")
        keep_freed_memory()
        return torch.device("cpu")
    from diffmia.running.cards import lease_card

    return lease_card()


def device_name(device: torch.device | None) -> str:
    """What the device is called in provenance and cost; `cpu` where nothing was run by torch."""
    if device is None:
        return "cpu"
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu x{torch.get_num_threads()}"
