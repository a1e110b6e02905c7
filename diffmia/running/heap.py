"""Memory that a process gives back and wants again a moment later."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed for what is allocated next; whether it is one that can be told so.

    Left alone, glibc maps every block of more than 32 MB anew and the kernel fills it with zeros, at every operation
    of a network on a CPU: a quarter of the time of a pass of small networks over batches of 512 images of 32x32.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
