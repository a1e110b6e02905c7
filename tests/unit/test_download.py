"""Downloads, against a real HTTP server that knows ranges and can cut a transfer."""

import hashlib
import logging
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import diffmia.datasets.download as download_module
from diffmia.datasets.base import Download
from diffmia.datasets.cifar10 import Cifar10
from diffmia.datasets.coco import CocoVal2017
from diffmia.datasets.download import CHUNK, cache_folder, download
from diffmia.errors import DiffmiaError
from diffmia.running import progress

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
WAITS = (0.25, 0.5)  # stand for those of `download_module`, which are as long as a mirror's hiccups
ATTEMPTS = len(WAITS) + 1


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    """Seconds that were waited before each further attempt; none of them passes."""
    seconds = []
    monkeypatch.setattr(download_module, "WAITS", WAITS)
    monkeypatch.setattr(download_module, "sleep", seconds.append)
    return seconds


@pytest.fixture
def said(monkeypatch, caplog):
    """What the log of a job says, with a line for each part that is reported."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("diffmia")]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        header = self.headers["Range"]
        server.requests.append((self.path, header))
        time.sleep(server.delay)
        if server.refusals:
            self.send_error(server.refusals.pop(0))
            return
        if self.path not in server.files:
            self.send_error(404)
            return
        content = server.files[self.path]
        start = int(header.removeprefix("bytes=").removesuffix("-")) if header and server.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None  # bytes that get through before the line goes dead
        silent = server.silences.pop(0) if server.silences else None  # or before nothing more comes on it
        self.wfile.write(content[start:][: silent or cut])
        if silent:
            server.over.wait(5)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files = {"/data.bin": CONTENT}
        server.requests, server.cuts, server.ranges, server.delay = [], [], True, 0.0
        server.silences, server.refusals, server.over = [], [], threading.Event()
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("checksum", [MD5, SHA256])
def test_downloads_once(server, tmp_path, checksum):
    path = tmp_path / "cache" / "data.bin"
    download([f"{server.address}/data.bin"], path, checksum)
    download([f"{server.address}/data.bin"], path, checksum)
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["data.bin"]
    assert server.requests == [("/data.bin", None)]


def test_a_part_is_resumed_by_asking_for_the_rest_only(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:123_456])
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert server.requests == [("/data.bin", "bytes=123456-")]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_transfer_cut_midway_goes_on_where_it_was_cut(server, tmp_path):
    server.cuts = [CHUNK + 1000, CHUNK]
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert [header for _, header in server.requests] == [None, f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_an_address_that_is_busy_is_asked_again_after_ever_longer_waits(server, tmp_path, waited, said):
    server.refusals = [503, 429]
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert waited == list(WAITS)
    assert said()[0] == f"{server.address}/data.bin: 503 Service Unavailable; trying again in 0.25 s"


def test_waits_for_a_mirror_grow_to_tens_of_seconds(monkeypatch):
    monkeypatch.undo()
    waits = download_module.WAITS
    assert all(later == 2 * wait for wait, later in pairwise(waits))
    assert 20 <= waits[-1] <= 60


def test_an_address_without_the_file_is_asked_once(server, tmp_path, waited):
    with pytest.raises(DiffmiaError, match="404 Not Found"):
        download([f"{server.address}/absent.bin"], tmp_path / "data.bin", MD5)
    assert waited == []
    assert len(server.requests) == 1


def test_no_connection_is_tried_again(tmp_path, waited):
    with pytest.raises(DiffmiaError, match="no connection"):
        download(["http://127.0.0.1:9/data.bin"], tmp_path / "data.bin", MD5)
    assert waited == list(WAITS)


def test_the_log_says_how_far_a_download_is(server, tmp_path, monkeypatch, said):
    """In MiB, from where the file was taken up, in the words that `diffmia status` reads."""
    content = np.random.default_rng(1).bytes(3 * 2**20 + 1000)
    server.files = {"/data.bin": content}
    (tmp_path / "data.bin.part").write_bytes(content[: 2**20 + 10])
    checksum = "md5:" + hashlib.md5(content).hexdigest()
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", checksum)
    lines = said()
    assert re.fullmatch(r"MiB of data\.bin from 127\.0\.0\.1 1/4 \(25 %\)  ETA \d+ s", lines[0])
    done = [int(re.search(r" (\d)/4 \(", line)[1]) for line in lines]
    assert done == sorted(done)
    assert set(done) == {1, 2, 3, 4}
    assert done.count(4) == 1  # at the end alone


def test_a_transfer_that_is_cut_as_often_as_it_gets_on_is_not_given_up(server, tmp_path, waited):
    server.cuts = [CHUNK] * ATTEMPTS
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert waited == [WAITS[0]] * ATTEMPTS


def test_a_transfer_that_is_always_cut_keeps_its_part_for_the_next_run(server, tmp_path):
    server.cuts = [CHUNK, *[1] * len(WAITS)]  # of a chunk that is cut nothing is kept
    with pytest.raises(DiffmiaError, match="the transfer was cut"):
        download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert names(tmp_path) == ["data.bin.part"]
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert server.requests[-1] == ("/data.bin", f"bytes={CHUNK}-")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1000])
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_whole_part_only_needs_its_name(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert names(tmp_path) == ["data.bin"]


def test_mirrors_are_tried_in_order_until_one_is_right(server, tmp_path):
    server.files["/wrong.bin"] = CONTENT[::-1]
    server.files["/never.bin"] = CONTENT
    urls = [f"{server.address}/{name}.bin" for name in ("absent", "wrong", "data", "never")]
    download(urls, tmp_path / "data.bin", MD5)
    assert server.requests == [("/absent.bin", None), ("/wrong.bin", None), ("/data.bin", None)]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_when_all_fail_one_sentence_says_why_and_what_to_do(server, tmp_path):
    server.files["/wrong.bin"] = CONTENT[::-1]
    nowhere = "http://127.0.0.1:9/data.bin"
    urls = [f"{server.address}/absent.bin", f"{server.address}/wrong.bin", nowhere]
    with pytest.raises(DiffmiaError) as caught:
        download(urls, tmp_path / "data.bin", MD5)
    message = str(caught.value)
    assert f"{urls[0]} (404 Not Found)" in message
    assert f"{urls[1]} (what it sends does not have the checksum {MD5})" in message
    assert f"{nowhere} (no connection)" in message
    assert "`archive:`" in message
    assert "\n" not in message
    assert names(tmp_path) == []


def test_a_wrong_file_under_the_final_name_is_replaced(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"wrong")
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_wrong_file_under_the_final_name_goes_even_if_no_right_one_comes(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"wrong")
    with pytest.raises(DiffmiaError):
        download([f"{server.address}/absent.bin"], tmp_path / "data.bin", MD5)
    assert names(tmp_path) == []


def test_two_jobs_download_a_file_once(server, tmp_path):
    server.delay = 0.2  # long enough for both to be under way
    arguments = ([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    jobs = [threading.Thread(target=download, args=arguments) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(server.requests) == 1
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_file_that_is_there_needs_no_lock_so_a_shared_cache_may_be_read_only(tmp_path):
    (tmp_path / "data.bin").write_bytes(CONTENT)
    (tmp_path / "data.bin.lock").mkdir()  # stands for a lock that cannot be taken
    download([], tmp_path / "data.bin", MD5)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_is_one_sentence_with_the_file(server, tmp_path):
    (tmp_path / "data.bin.part").symlink_to("/dev/full")
    with pytest.raises(DiffmiaError, match=r"cannot write .*data\.bin\.part: No space left on device"):
        download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert not (tmp_path / "data.bin").exists()


def test_an_official_archive_is_asked_for_at_its_address_first_and_then_at_mirrors(server, tmp_path, monkeypatch):
    official = Download(f"{server.address}/official/cifar-10-binary.tar.gz", MD5, len(CONTENT), 0)
    monkeypatch.setattr(Cifar10, "official", (official,))
    [file] = Cifar10(source="cifar10", mirrors=[f"{server.address}/data.bin"]).fetch(tmp_path)
    assert [path for path, _ in server.requests] == ["/official/cifar-10-binary.tar.gz", "/data.bin"]
    assert file.path == str(tmp_path / "cifar-10-binary.tar.gz")
    assert (file.name, file.bytes) == ("cifar-10-binary.tar.gz", len(CONTENT))
    assert "sha256:" + file.sha256 == SHA256
    assert file.url == official.url


def test_of_two_official_archives_each_has_its_own_mirrors(server, tmp_path, monkeypatch):
    images, captions = CONTENT[:1000], CONTENT[1000:3000]
    server.files = {"/a/val2017.zip": images, "/b/annotations_trainval2017.zip": captions}
    official = [
        Download(f"{server.address}/gone/{name}", "md5:" + hashlib.md5(content).hexdigest(), len(content), 0)
        for name, content in (("val2017.zip", images), ("annotations_trainval2017.zip", captions))
    ]
    monkeypatch.setattr(CocoVal2017, "official", tuple(official))
    mirrors = [f"{server.address}{path}" for path in server.files]
    files = CocoVal2017(source="coco_val2017", mirrors=mirrors).fetch(tmp_path)
    assert [Path(file.path).read_bytes() for file in files] == [images, captions]
    assert [path for path, _ in server.requests] == [
        "/gone/val2017.zip",
        "/a/val2017.zip",
        "/gone/annotations_trainval2017.zip",
        "/b/annotations_trainval2017.zip",
    ]


def test_a_transfer_cut_by_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges, server.cuts = False, [CHUNK + 1000]
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert [header for _, header in server.requests] == [None, f"bytes={CHUNK}-"]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_server_that_falls_silent_is_asked_for_the_rest(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "CONNECT_AND_READ_SECONDS", (10, 0.2))
    server.silences = [CHUNK]
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5)
    assert [header for _, header in server.requests] == [None, f"bytes={CHUNK}-"]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [1000, len(CONTENT), len(CONTENT) + 1000])
def test_a_part_of_another_file_does_not_spoil_the_right_one(server, tmp_path, kept):
    (tmp_path / "data.bin.part").write_bytes(bytes(kept))
    download([f"{server.address}/data.bin"], tmp_path / "data.bin", MD5, len(CONTENT))
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]


def test_a_mirror_that_is_cut_and_wrong_does_not_spoil_the_next(server, tmp_path):
    server.files["/wrong.bin"] = CONTENT[::-1]
    server.cuts = [CHUNK, *[1] * len(WAITS)]
    download([f"{server.address}/{name}.bin" for name in ("wrong", "data")], tmp_path / "data.bin", MD5)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_no_more_is_written_than_the_file_has(server, tmp_path):
    server.files["/endless.bin"] = CONTENT + bytes(10 * CHUNK)
    with pytest.raises(
        DiffmiaError, match=rf"endless\.bin \(it sends more than the {len(CONTENT)} bytes of the file\)"
    ):
        download([f"{server.address}/endless.bin"], tmp_path / "data.bin", MD5, len(CONTENT))
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(server, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DiffmiaError, match=r"cannot write .*cache/data\.bin\.part: .*DIFFMIA_CACHE"):
        download([f"{server.address}/data.bin"], tmp_path / "cache" / "data.bin", MD5)
    assert server.requests == []


def test_the_cache_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFMIA_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DIFFMIA_CACHE")
    assert cache_folder().name == "diffmia"
