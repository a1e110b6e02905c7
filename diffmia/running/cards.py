"""A card of its own for each job on a machine with several: Snakemake counts GPUs, and never says which is whose."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path

import torch
from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

SECONDS = 1.0  # between looks at cards that are all taken
_held: list[FileLock] = []  # until the process ends; the kernel frees them then, however it ends


def lease_card() -> torch.device:
    """The first visible card that no other job of this user on this machine holds; waits until there is one.

    The card is this process's until it ends. Cards are told apart by their UUIDs, so that jobs for which
    CUDA_VISIBLE_DEVICES, or a scheduler, numbers the cards otherwise agree on which is which.
    """
    folder = Path(tempfile.gettempdir(), f"diffmia-cards-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    cards = [torch.cuda.get_device_properties(index).uuid for index in range(torch.cuda.device_count())]
    waiting = False
    while True:
        for index, uuid in enumerate(cards):
            lock = FileLock(folder / f"{uuid}.lock", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                continue
            _held.append(lock)
            torch.cuda.set_device(index)
            return torch.device("cuda", index)
        if not waiting:
            log.info("waiting for a card: other jobs hold all %d that are visible", len(cards))
            waiting = True
        time.sleep(SECONDS)
