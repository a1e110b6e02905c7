"""Progress of long work as log lines: what is done, how fast, and when it will be finished."""

from __future__ import annotations

import logging
import time

SECONDS_BETWEEN_LINES = 5.0
MIB = 2**20


class Progress:
    """Reports now and then how much of `total` is done; work done before (`done`) counts for no speed.

    Nor does the first part that is reported, once there is a second: kernels may have been compiled for it.
    """

    def __init__(self, log: logging.Logger, what: str, total: int, done: int = 0):
        self.log, self.what, self.total, self.done = log, what, total, done
        self.start = self.last = time.monotonic()
        self.done_at_start, self.is_first = done, True

    def update(self, done: int, detail: str = "") -> None:
        """Say that `done` of the total are done; writes a line if the last is some seconds old, or at the end."""
        self.done = done
        now = time.monotonic()
        start, before = self.start, self.done_at_start
        if self.is_first:
            self.start, self.done_at_start, self.is_first = now, done, False
        if now - self.last < SECONDS_BETWEEN_LINES and done < self.total:
            return
        self.last = now
        left = (now - start) / max(1, done - before) * (self.total - done)
        percent = 100 * done // self.total
        self.log.info("%s %d/%d (%d %%)%s  ETA %.0f s", self.what, done, self.total, percent, detail, left)


class BytesProgress(Progress):
    """Progress of so many bytes, said in MiB."""

    def __init__(self, log: logging.Logger, what: str, total: int, done: int = 0):
        super().__init__(log, f"MiB of {what}", max(1, -(-total // MIB)), done // MIB)
        self.bytes = total

    def update(self, done: int, detail: str = "") -> None:
        """See `Progress.update`; a MiB that has begun counts as done at the end alone."""
        super().update(self.total if done >= self.bytes else done // MIB, detail)
