"""Archives: read in place, and refused where they would do harm."""

import gzip
import io
import stat
import tarfile
import tracemalloc
import warnings
import zipfile
import zlib

import pytest

from diffmia.datasets.archives import member_sizes, read_members
from diffmia.errors import DiffmiaError
from tests.unit.prepared import write_tar

LIMIT = 4 * 2**20
BOMB = 64 * 2**20


def link(kind, target):
    info = tarfile.TarInfo("folder/link")
    info.type, info.linkname = kind, target
    return info


def special(kind):
    info = tarfile.TarInfo("folder/special")
    info.type, info.devmajor, info.devminor = kind, 1, 5
    return info


def write_pax(path, headers, content=b"", first=None):
    """A compressed tar of `data.bin` with these pax headers, before it `first.bin`."""
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        if first is not None:
            add(archive, tarfile.TarInfo("first.bin"), first)
        info = tarfile.TarInfo("data.bin")
        info.pax_headers = headers
        add(archive, info, content)
    return path


def add(archive, info, content):
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def with_checksum(header):
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def write_zip(path, members, mode=stat.S_IFREG | 0o644, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, compression
            archive.writestr(info, content)
    return path


def read_all(path, limit=LIMIT):
    return dict(zip(sizes := member_sizes(path, limit), read_members(path, sizes, limit), strict=True))


def peak_of(call):
    tracemalloc.start()
    with pytest.raises(DiffmiaError) as caught:
        call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_members_are_read_in_the_order_asked_for_and_inner_links_do_no_harm(tmp_path, mode):
    members = {"folder/a": b"first", "folder/b": b"second", "folder/link": link(tarfile.SYMTYPE, "../folder/a")}
    path = write_tar(tmp_path / "some.tar", members, mode)
    assert member_sizes(path, LIMIT) == {"folder/a": 5, "folder/b": 6}
    assert list(read_members(path, ["folder/b", "folder/a"], LIMIT)) == [b"second", b"first"]


@pytest.mark.parametrize("mode", [0, stat.S_IFREG | 0o644])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_members_are_read_in_the_order_asked_for(tmp_path, mode, compression):
    path = write_zip(tmp_path / "some.zip", {"folder/": b"", "folder/a": b"first", "b": b""}, mode, compression)
    assert member_sizes(path, LIMIT) == {"folder/a": 5, "b": 0}
    assert list(read_members(path, ["b", "folder/a"], LIMIT)) == [b"", b"first"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../evil.bin", b"evil"),
        ("folder/../../evil.bin", b"evil"),
        ("/diffmia-evil.bin", b"evil"),
        ("folder/link", link(tarfile.SYMTYPE, "/etc/passwd")),
        ("folder/link", link(tarfile.SYMTYPE, "../../evil.bin")),
        ("folder/link", link(tarfile.LNKTYPE, "../evil.bin")),
    ],
    ids=["parent", "parent from below", "absolute", "absolute link", "link to parent", "hard link to parent"],
)
def test_a_tar_member_that_leads_outside_is_refused(tmp_path, name, content):
    path = write_tar(tmp_path / "some.tar.gz", {"good.bin": b"good", name: content})
    with pytest.raises(DiffmiaError, match=f"member '{name}' leads outside .* do not use this file"):
        member_sizes(path, LIMIT)


@pytest.mark.parametrize("name", ["../evil.bin", "folder/../../evil.bin", "/diffmia-evil.bin"])
def test_a_zip_member_that_leads_outside_is_refused(tmp_path, name):
    path = write_zip(tmp_path / "some.zip", {"good.bin": b"good", name: b"evil"})
    for use in (lambda: member_sizes(path, LIMIT), lambda: list(read_members(path, ["good.bin"], LIMIT))):
        with pytest.raises(DiffmiaError, match=f"member '{name}' leads outside"):
            use()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_in_a_tar_is_refused(tmp_path, kind):
    path = write_tar(tmp_path / "some.tar.gz", {"good.bin": b"good", "special": special(kind)})
    with pytest.raises(DiffmiaError, match="member 'folder/special' is a device or a pipe"):
        member_sizes(path, LIMIT)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_device_in_a_zip_is_refused(tmp_path, kind):
    path = write_zip(tmp_path / "some.zip", {"folder/link": b"/etc/passwd"}, kind | 0o777)
    with pytest.raises(DiffmiaError, match="member 'folder/link' is a link, a device or a pipe"):
        member_sizes(path, LIMIT)


def test_a_link_in_a_tar_is_never_read(tmp_path):
    path = write_tar(tmp_path / "some.tar.gz", {"secret": b"secret", "link": link(tarfile.SYMTYPE, "../secret")})
    with pytest.raises(KeyError):
        list(read_members(path, ["folder/link"], LIMIT))


def in_a_member(path):
    return write_tar(path, {"data.bin": bytes(BOMB)})


def in_a_long_name(path):
    """A header of the kind that holds the name of the next member, of 64 MiB: `tarfile` reads it whole."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, BOMB
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + b"n" * BOMB))
    return path


def behind_the_end(path):
    write_tar(path, {"data.bin": b"data"}, "w")
    path.write_bytes(gzip.compress(path.read_bytes() + bytes(BOMB)))
    return path


def in_a_header(path):
    """A member that is said to have a terabyte; to skip it would be to decompress all that follows."""
    header = tarfile.TarInfo("data.bin")
    header.size = 2**40
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    return path


def in_a_pax_size(path):
    """A pax header may give a size, of which the archive's own header and its content say nothing."""
    return write_pax(path, {"GNU.sparse.realsize": str(BOMB)})


def in_a_zip(path):
    return write_zip(path, {"data.bin": bytes(BOMB)})


def in_many_of_a_zip(path):
    return write_zip(path, {f"{number}.bin": bytes(2**20) for number in range(8)})


@pytest.mark.parametrize(
    "bomb",
    [in_a_member, in_a_long_name, in_a_header, behind_the_end, in_a_pax_size, in_a_zip, in_many_of_a_zip],
)
def test_an_archive_that_expands_over_its_limit_is_refused_before_memory_is_filled(tmp_path, bomb):
    path = bomb(tmp_path / "some.archive")
    assert path.stat().st_size < 200_000
    peak, message = peak_of(lambda: member_sizes(path, LIMIT))
    assert message == f"archive {path} expands over the 4 MiB that its dataset can have; do not use this file"
    assert peak < 3 * LIMIT


def old_gnu_sparse(path):
    """A header of GNU's old form: a list of where there is content, which is empty, and the size with its holes."""
    info = tarfile.TarInfo("data.bin")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0" % 0 * 2
    header[483:495] = b"%011o\0" % BOMB
    path.write_bytes(gzip.compress(with_checksum(header) + bytes(1024)))
    return path


def pax_sparse_0_0(path):
    of = {"GNU.sparse.numblocks": "1", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "0"}
    return write_pax(path, {"GNU.sparse.size": str(BOMB), **of})


def pax_sparse_0_1(path):
    return write_pax(path, {"GNU.sparse.size": str(BOMB), "GNU.sparse.map": "0,0"})


def pax_sparse_1_0(path):
    of = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "data.bin"}
    return write_pax(path, {"GNU.sparse.realsize": str(BOMB), **of}, b"1\n0\n0\n".ljust(512, b"\0"))


@pytest.mark.parametrize("limit", [LIMIT, 2 * BOMB], ids=["too large", "not too large"])
@pytest.mark.parametrize("sparse", [old_gnu_sparse, pax_sparse_0_0, pax_sparse_0_1, pax_sparse_1_0])
def test_a_sparse_member_is_refused_before_its_holes_are_filled(tmp_path, sparse, limit):
    path = sparse(tmp_path / "some.tar.gz")
    assert path.stat().st_size < 300
    for use in (lambda: member_sizes(path, limit), lambda: list(read_members(path, ["data.bin"], limit))):
        peak, message = peak_of(use)
        assert message == f"archive {path}: member 'data.bin' is sparse; do not use this file"
        assert peak < LIMIT


def test_a_tar_is_read_only_where_all_of_it_would_be_listed(tmp_path):
    """Who reads members may have their names from elsewhere than `member_sizes`."""
    path = write_tar(tmp_path / "some.tar", {"good.bin": b"good", "../evil.bin": b"evil"})
    with pytest.raises(DiffmiaError, match=r"member '\.\./evil\.bin' leads outside"):
        list(read_members(path, ["good.bin"], LIMIT))


def test_a_tar_member_of_negative_size_does_not_send_the_reader_back(tmp_path):
    """To the member before it and on to itself again, for ever."""
    path = write_pax(tmp_path / "some.tar.gz", {"size": "-1536"}, first=b"good")
    with pytest.raises(DiffmiaError, match=r"member 'data\.bin' has a negative size"):
        member_sizes(path, LIMIT)


@pytest.mark.parametrize("sizes", [b"x" * 512, b"9999\n1"], ids=["no number", "too few numbers"])
def test_a_sparse_member_without_a_list_of_its_parts_is_one_sentence(tmp_path, sizes):
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "data.bin"}
    path = write_pax(tmp_path / "some.tar.gz", headers, sizes)
    with pytest.raises(DiffmiaError, match=r"some\.tar\.gz is truncated, corrupt or no tar or zip archive"):
        member_sizes(path, LIMIT)


def test_a_zip_member_that_expands_over_what_it_declares_is_refused_before_memory_is_filled(tmp_path):
    path = write_zip(tmp_path / "some.zip", {"data.bin": bytes(BOMB)})
    content = path.read_bytes()
    path.write_bytes(content.replace(BOMB.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert member_sizes(path, LIMIT) == {"data.bin": 1000}  # so it says
    peak, message = peak_of(lambda: list(read_members(path, ["data.bin"], LIMIT)))
    assert "some.zip is truncated, corrupt" in message
    assert peak < 2**20


def test_a_zip_member_with_another_checksum_is_refused(tmp_path):
    path = write_zip(tmp_path / "some.zip", {"data.bin": b"content"}, compression=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(DiffmiaError, match=r"some\.zip is truncated, corrupt"):
        read_all(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_cannot_be_decompressed_piece_by_piece_is_refused(tmp_path, compression):
    path = write_zip(tmp_path / "some.zip", {"data.bin": bytes(1000)}, compression=compression)
    with pytest.raises(DiffmiaError, match=r"member 'data\.bin' is encrypted or compressed in an unusual way"):
        member_sizes(path, LIMIT)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "some.zip", {"data.bin": b"content"})
    with zipfile.ZipFile(path) as archive:
        [member] = archive.infolist()
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert member.flag_bits == 0
    with pytest.raises(DiffmiaError, match=r"member 'data\.bin' is encrypted"):
        read_all(path)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_zip_is_refused(tmp_path, fraction):
    path = write_zip(tmp_path / "some.zip", {f"{n}.bin": zlib.compress(bytes([n]) * 5000) for n in range(20)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(DiffmiaError, match=r"some\.zip is truncated, corrupt or no tar or zip archive"):
        read_all(path)


def test_of_two_members_of_one_name_the_one_that_is_measured_is_the_one_that_is_read(tmp_path):
    for path, opened in ((tmp_path / "a.tar", tarfile.open), (tmp_path / "a.zip", zipfile.ZipFile)):
        with warnings.catch_warnings(), opened(path, "w") as archive:
            warnings.simplefilter("ignore")
            for content in (b"first", b"the second"):
                info = tarfile.TarInfo("data.bin")
                info.size = len(content)
                if path.suffix == ".tar":
                    archive.addfile(info, io.BytesIO(content))
                else:
                    archive.writestr("data.bin", content)
        assert member_sizes(path, LIMIT) == {"data.bin": 10}
        assert list(read_members(path, ["data.bin"], LIMIT)) == [b"the second"]
