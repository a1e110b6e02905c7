"""Files and folders that appear whole or not at all."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path

FULL = "cannot write {}: No space left on device. Free some space and run again."


def make_file(path, text):
    path.write_text(text)


def make_folder(path, text):
    (path / "deep").mkdir(parents=True)
    (path / "deep" / f"{text}.txt").write_text(text)


@pytest.fixture(params=[make_file, make_folder], ids=["file", "folder"])
def make(request):
    return request.param


def content(path):
    """Text of a file, or of each file of a folder by its path in it."""
    if path.is_file():
        return path.read_text()
    return {str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()}


def write(path, make, text, then=lambda scratch: None):
    with atomic_path(path) as scratch:
        make(scratch, text)
        then(scratch)


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


def test_it_appears_when_the_block_ends(tmp_path, make):
    path = tmp_path / "new" / "place" / "thing"

    def look(scratch):
        assert not path.exists()
        assert path.parent in scratch.parents  # so that it is on the same disk

    write(path, make, "whole", then=look)
    make(tmp_path / "expected", "whole")
    assert content(path) == content(tmp_path / "expected")
    assert list(path.parent.iterdir()) == [path]


def test_it_takes_the_place_of_what_was_there(tmp_path, make):
    path = tmp_path / "thing"
    write(path, make, "old")
    before = content(path)

    def look(scratch):
        assert content(path) == before

    write(str(path), make, "new", then=look)
    assert "new" in str(content(path))
    assert "old" not in str(content(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_after_an_error_the_old_stands_and_no_scratch_is_left(tmp_path, make, error):
    path = tmp_path / "thing"
    write(path, make, "old")
    before = content(path)
    with pytest.raises(type(error)) as caught:
        write(path, make, "half", then=failing(error))
    assert caught.value is error
    assert content(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_there_is_nothing_where_nothing_was(tmp_path, make):
    with pytest.raises(ValueError, match="stop"):
        write(tmp_path / "thing", make, "half", then=failing(ValueError("stop")))
    assert list(tmp_path.iterdir()) == []


def test_the_old_stands_when_the_last_step_fails(tmp_path, monkeypatch, make):
    path = tmp_path / "thing"
    write(path, make, "old")
    before = content(path)
    replace = os.replace

    def break_the_last_step(scratch):
        def fail(source, destination):
            if Path(source) == scratch:
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(source, destination)

        monkeypatch.setattr(os, "replace", fail)

    with pytest.raises(DiffmiaError) as caught:
        write(path, make, "new", then=break_the_last_step)
    assert str(caught.value) == FULL.format(path)
    assert content(path) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_disk_that_fills_up(tmp_path):
    def fill(scratch, text):
        scratch.symlink_to("/dev/full")
        scratch.write_text(text)

    with pytest.raises(DiffmiaError) as caught:
        write(tmp_path / "thing", fill, "more than there is room for")
    assert str(caught.value) == FULL.format(tmp_path / "thing")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_no_room_for_the_scratch_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "mkdtemp", failing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(DiffmiaError) as caught:
        write(tmp_path / "thing", make_file, "whole")
    assert str(caught.value) == FULL.format(tmp_path / "thing")


def test_a_full_quota_is_a_full_disk(tmp_path):
    quota = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    with pytest.raises(DiffmiaError, match="thing: Disk quota exceeded"):
        write(tmp_path / "thing", make_file, "half", then=failing(quota))


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.EIO], ids=os.strerror)
def test_other_errors_of_the_system_are_passed_on_as_they_are(tmp_path, number):
    error = OSError(number, os.strerror(number))
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write(tmp_path / "thing", make_file, "half", then=failing(error))
    assert caught.value is error
