"""Locks between processes: what holds one, and what is said where there can be none."""

import errno
import fcntl
import os

import pytest

from diffmia.errors import DiffmiaError
from diffmia.files.locks import exclusive


def test_one_holder_at_a_time_and_the_next_afterwards(tmp_path):
    lock = tmp_path / "new" / "lock"
    refused = pytest.raises(DiffmiaError, match="another process is at work on a training")
    with exclusive(lock, "a training"), refused, exclusive(lock, "a training"):
        pass
    with exclusive(lock, "a training"):
        pass


def test_a_file_system_without_locks_is_named_in_one_sentence(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DiffmiaError) as caught, exclusive(tmp_path / "lock", "a training"):
        pass
    assert str(caught.value) == (
        f"cannot lock {tmp_path / 'lock'}: No locks available; results/ has to lie on a file system with locks (flock)"
    )
