"""Each job has a card of its own, on a machine whose cards are made up: no test machine has several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

# what a job does, where torch sees the cards that are named on the command line
JOB = """
import logging, sys
from types import SimpleNamespace

chosen = []
cuda = SimpleNamespace(
    device_count=lambda: len(sys.argv) - 1,
    get_device_properties=lambda index: SimpleNamespace(uuid=sys.argv[1 + index]),
    set_device=chosen.append,
)
class device:
    def __init__(self, kind, index):
        self.type, self.index = kind, index
    def __str__(self):
        return f"{self.type}:{self.index}"
sys.modules["torch"] = SimpleNamespace(cuda=cuda, device=device)  # the real one takes two seconds to import
from diffmia.running import cards

cards.SECONDS = 0.02
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
device = cards.lease_card()
assert chosen == [device.index]
print("has", device, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def job(tmp_path):
    """Starts a job that sees some cards."""
    started = []

    def start(*cards: str) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", JOB, *cards],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_two_jobs_have_two_cards_and_the_third_waits_until_one_is_killed(job):
    first, second = job("GPU-a", "GPU-b"), job("GPU-a", "GPU-b")
    assert {first.stdout.readline(), second.stdout.readline()} == {"has cuda:0\n", "has cuda:1\n"}
    third = job("GPU-a", "GPU-b")
    assert third.stdout.readline() == "waiting for a card: other jobs hold all 2 that are visible\n"
    os.kill(second.pid, signal.SIGKILL)
    assert third.stdout.readline().startswith("has cuda:")


def test_a_card_is_the_same_whatever_its_number(job):
    assert job("GPU-a", "GPU-b").stdout.readline() == "has cuda:0\n"
    assert job("GPU-b", "GPU-a").stdout.readline() == "has cuda:0\n"  # its first is the other's second
    assert job("GPU-a").stdout.readline().startswith("waiting for a card: other jobs hold all 1 ")
