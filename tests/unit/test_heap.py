"""Freed memory is kept: a process that frees and allocates large blocks does not fault for every page again."""

import ctypes
import platform
import resource
import subprocess
import sys

import pytest

from diffmia.running.heap import keep_freed_memory

FAULTS = """
import resource, sys
import torch
from diffmia.running.device import use_device
if sys.argv[1] == "kept":
    use_device("cpu", 0, 1)
for _ in range(20):  # until small blocks lie elsewhere
    torch.ones(2**24)  # 64 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_large_blocks_are_used_again():
    pages = 10 * 2**26 // resource.getpagesize()
    assert faults("left alone") > pages / 2
    assert faults("kept") < pages / 100


HEAPS = """
import resource, threading
import torch
from diffmia.running.device import use_device

def fill():
    blocks = [torch.zeros(25_000) for _ in range(2000)]  # 200 MB in blocks of 100 kB

use_device("cpu", 0, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
thread = threading.Thread(target=fill)
thread.start()
thread.join()
fill()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_what_a_thread_frees_is_used_by_another():
    held = int(subprocess.run([sys.executable, "-c", HEAPS], capture_output=True, text=True, check=True).stdout)
    assert held < 300e6  # with a heap for each it is twice the 200 MB


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()
