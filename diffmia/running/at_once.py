"""How many samples, or other things, a device is given at a time: as many as one wants, until its memory is full."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from diffmia.running.failures import OutOfMemory

log = logging.getLogger(__name__)

Made = TypeVar("Made")


class AtOnce:
    """At most `size` at a time, halved for good whenever the device's memory does not hold what is made of them.

    Parameters
    ----------
    size : int
        How many at first.
    what : str
        What they are, for the log and for errors.
    """

    def __init__(self, size: int, what: str):
        self.size, self.what = size, what

    def attempt(self, make: Callable[[], Made], count: int) -> Made | None:
        """What is made of `count` of them; None if it does not fit, and there should be fewer.

        Raises
        ------
        OutOfMemory
            If there cannot be fewer.
        """
        try:
            return make()
        except torch.OutOfMemoryError as error:
            if count <= 1:
                raise OutOfMemory(
                    f"what one of the {self.what} takes does not fit in the device's memory: {error}. Use a card with "
                    "more memory, or device: cpu"
                ) from error
        self.size = count // 2  # only here, outside the `except`, is what failed gone and its memory free
        torch.cuda.empty_cache()
        log.warning("out of device memory; going on with %d %s at a time", self.size, self.what)
        return None
