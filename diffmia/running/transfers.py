"""How far large files are, fetched or read, as log lines: a job's log and a terminal have the same."""

from __future__ import annotations

import logging
from typing import Any

from diffmia.running.progress import Progress

log = logging.getLogger(__name__)

MIB = 2**20
LARGE = 16 * MIB  # bytes of a file that the hub's client fetches, below which nothing is said: there are many


class BytesProgress(Progress):
    """Progress of so many bytes, said in MiB."""

    def __init__(self, log: logging.Logger, what: str, total: int, done: int = 0):
        super().__init__(log, f"MiB of {what}", max(1, -(-total // MIB)), done // MIB)
        self.bytes = total

    def update(self, done: int, detail: str = "") -> None:
        """See `Progress.update`; a MiB that has begun counts as done at the end alone."""
        super().update(self.total if done >= self.bytes else done // MIB, detail)


def bar_of(what: str) -> type:
    """What the client of the Hugging Face hub makes in place of its progress bar, which without a terminal is none."""

    class Bar:
        def __init__(self, *_: Any, total: int | None = None, initial: int = 0, **__: Any):
            self.done = initial
            self.progress = BytesProgress(log, what, total, initial) if total and total >= LARGE else None

        def update(self, count: int = 1) -> None:
            self.done += count
            if self.progress:
                self.progress.update(self.done)

        def ignore(self, *_: Any, **__: Any) -> None:
            pass

        # the first tells the client not to make a second bar for what comes over the network, which may be less
        update_transfer = set_postfix_str = set_transfer_postfix_str = close = __exit__ = ignore

        def __enter__(self) -> Bar:
            return self

    return Bar
