"""Nights in archives: read whole, refused by name, or said to be empty; never passed over in silence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lz4.frame
import pyarrow as pa
import pytest
from alert_data import MANY_AVRO, NEWEST, TDE
from archives import Opened, digest, messages
from avro_packets import saved, single_packets
from click.testing import CliRunner, Result

from flight_server.cli.app import main
from flight_server.protocol.query import Query
from flight_server.storage.scratch import remove_abandoned

Store = Callable[..., Opened]
Members = Iterable[tuple[str, bytes]]
STAMPS = ("Science", "Template", "Difference")


def tarred(members: Members, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)


def night() -> list[tuple[str, bytes]]:
    """Return packets as the survey's archive names them."""
    return [(f"15860{number}.avro", content) for number, content in enumerate(single_packets())]


def contents(opened: Opened) -> str:
    return digest(messages(opened, Query(table="ztf", all=True, cutouts=STAMPS)).table)


def run(tmp_path: Path, *paths: Path) -> Result:
    return CliRunner().invoke(main, ["ingest", *map(str, paths), "--data", str(tmp_path / "store")])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    from archives import open_embedded

    opened = open_embedded(tmp_path_factory.mktemp("plain"))
    opened.ingest(MANY_AVRO)
    return contents(opened)


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "night.tar": lambda: tarred(night()),
    "ztf_public_20200202.tar.gz": lambda: tarred(night(), "w:gz"),
    "night.tgz": lambda: gzip.compress(tarred((f"./a/{name}", content) for name, content in night())),
    "two_members.tar.gz": lambda: gzip.compress(tarred(night())[:5000]) + gzip.compress(tarred(night())[5000:]),
    "night.tar.bz2": lambda: tarred(night(), "w:bz2"),
    "night.tar.xz": lambda: tarred(night(), "w:xz"),
    "night.tar.zst": lambda: zstd(tarred(night())),
    "night.tar.lz4": lambda: lz4.frame.compress(tarred(night())),
    "night.zip": lambda: zipped(night()),
    "stored.zip": lambda: zipped(night(), zipfile.ZIP_STORED),
    "bzip2.zip": lambda: zipped(night(), zipfile.ZIP_BZIP2),
    "many.avro.gz": lambda: gzip.compress(MANY_AVRO.read_bytes()),
    "many.avro.bz2": lambda: bz2.compress(MANY_AVRO.read_bytes()),
    "many.avro.xz": lambda: lzma.compress(MANY_AVRO.read_bytes()),
    "packets_each.tar": lambda: tarred((f"{name}.gz", gzip.compress(content)) for name, content in night()),
    "tar_in.zip": lambda: zipped([("night.tar.gz", tarred(night(), "w:gz"))]),
    "no_ending": lambda: tarred(night(), "w:gz"),
    "deflated.tar": lambda: tarred((f"{n}.avro", content) for n, content in enumerate(single_packets("deflate"))),
    "mixed_codecs.tar": lambda: tarred((str(n), single_packets(("null", "deflate")[n % 2])[n]) for n in range(11)),
}


@pytest.mark.deep(after=8)
@pytest.mark.parametrize("name", ARCHIVES)
def test_a_night_in_an_archive_is_read_whole(open_store: Store, tmp_path: Path, plain: str, name: str) -> None:
    opened = open_store()
    report = opened.ingest(saved(ARCHIVES[name](), tmp_path / name))
    assert (report.alerts, report.failures, report.skipped) == (11, {}, [])
    assert report.files == (1 if name.startswith("many") else 11)
    assert contents(opened) == plain


def test_archives_are_found_in_folders(open_store: Store, tmp_path: Path, plain: str) -> None:
    for name, make in ARCHIVES.items():
        saved(make(), tmp_path / "in" / "deeper" / name)
    opened = open_store()
    report = opened.ingest(tmp_path / "in")
    assert (report.alerts, report.failures, report.skipped) == (11 * len(ARCHIVES), {}, [])
    assert contents(opened) == plain


def test_parquet_is_read_from_archives_too(open_store: Store, tmp_path: Path) -> None:
    files = [("a/one.parquet", TDE.read_bytes()), ("b/two.parquet", NEWEST.read_bytes()), ("c.avro", MANY_AVRO.read_bytes())]
    opened, plain = open_store(), open_store("plain")
    assert (
        opened.ingest(saved(zipped(files), tmp_path / "a.zip"), saved(gzip.compress(TDE.read_bytes()), tmp_path / "b.gz")).files
        == 4
    )
    plain.ingest(TDE, NEWEST, MANY_AVRO)
    assert contents(opened) == contents(plain)


def test_members_are_named_behind_their_archive_and_other_files_skipped(open_store: Store, tmp_path: Path) -> None:
    names = night()
    members = [
        ("README", b"what is in here"),
        (".hidden.avro", b"Obj\x01"),
        ("__MACOSX/._1.avro", b"Obj\x01"),
        ("1.avro", names[1][1][:-100]),
        ("2.avro", b""),
        *names,
    ]
    file = saved(tarred(members), tmp_path / "night.tar")
    lines: list[str] = []
    from flight_server.catalog.catalog import load_catalog
    from flight_server.ingest import ingest

    report = ingest(open_store().store, load_catalog(), [file], lambda found, line: lines.append(f"{found.path}: {line}"))
    assert report.alerts == 11
    assert set(report.failures) == {file / "1.avro"}
    assert "ends early" in report.failures[file / "1.avro"]
    assert report.skipped == [file / "README", file / "2.avro"]
    assert [line for line in lines if not line.endswith(": ")][-1] == f"{file}: 11 alerts of 11 files in it"


def test_no_member_is_written_outside_of_the_temporary_folder(open_store: Store, tmp_path: Path) -> None:
    content = single_packets()
    target = tmp_path / "elsewhere.avro"
    names = ["../../escape.avro", str(target), "/etc/alertflight.avro", "..", "a/../../b.avro", "line\nbreak\x1b[31m.avro"]
    for make, ending in ((tarred, "tar"), (zipped, "zip")):
        opened = open_store(ending)
        file = saved(make(zip(names, content, strict=False)), tmp_path / f"odd.{ending}")
        report = opened.ingest(file)
        assert (report.alerts, report.failures) == (len(names), {})
        bad = saved(make((name, b"Obj\x01") for name in names), tmp_path / f"bad.{ending}")
        report = opened.ingest(bad)
        assert all(str(path).startswith(f"{bad}/") and str(path).isprintable() for path in report.failures)
        assert len(report.failures) == len(names)
    assert not target.exists()
    assert not list(tmp_path.rglob("*escape*"))
    links = io.BytesIO()
    with tarfile.open(fileobj=links, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("link.avro")
            info.type, info.linkname = kind, str(MANY_AVRO)
            archive.addfile(info)
    file = saved(links.getvalue(), tmp_path / "links.tar")
    assert "no Parquet or Avro file is in this archive" in open_store("links").ingest(file).failures[file]


def damaged() -> dict[str, tuple[bytes, str]]:
    tar, packed = tarred(night()), tarred(night(), "w:gz")
    size = 512 + -(-len(night()[0][1]) // 512) * 512  # of the first member
    crc = bytearray(packed)
    crc[-6] ^= 1
    inner = bytearray(zipped(night(), zipfile.ZIP_STORED))
    inner[2000] ^= 1
    encrypted = bytearray(zipped(night()[:1]))
    encrypted[6] |= 1
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
    header = bytearray(tar)
    header[size + 10] ^= 1
    deep = MANY_AVRO.read_bytes()
    for _ in range(6):
        deep = gzip.compress(deep)
    return {
        "cut.tar": (tar[: size + 700], "ends early"),
        "cut_between.tar": (tar[:size], "ends early"),
        "cut_in_header.tar": (tar[: size + 100], "ends early"),
        "broken_header.tar": (bytes(header), "broken behind byte"),
        "two.tar": (tar + tar, "it has more behind its end"),
        "cut.tar.gz": (packed[: len(packed) // 2], "damaged"),
        "checksum.tar.gz": (bytes(crc), "damaged"),
        "tail.tar.gz": (packed + b"more", "damaged"),
        "cut.zip": (zipped(night())[:-30], "damaged"),
        "checksum.zip": (bytes(inner), "damaged"),
        "encrypted.zip": (bytes(encrypted), "is encrypted: unpack it"),
        "cut.avro.xz": (lzma.compress(MANY_AVRO.read_bytes())[:-200], "damaged"),
        "cut.avro.bz2": (bz2.compress(MANY_AVRO.read_bytes())[:-200], "damaged"),
        "cut.avro.zst": (zstd(MANY_AVRO.read_bytes())[:-200], "damaged"),
        "deep.gz": (deep, "more than 4 archives in one another"),
        "night.7z": (b"7z\xbc\xaf\x27\x1c rest", "7z archives cannot be read: unpack it"),
        "night.rar": (b"Rar!\x1a\x07\x00 rest", "RAR archives cannot be read: unpack it"),
        "night.avro.Z": (b"\x1f\x9d\x90 rest", "compress (.Z) archives cannot be read: unpack it"),
    }


@pytest.mark.parametrize("place", ["named", "in a folder"])
def test_damaged_and_unknown_archives_are_refused_by_name(open_store: Store, tmp_path: Path, place: str) -> None:
    reasons = {}
    for name, (content, reason) in damaged().items():
        reasons[saved(content, tmp_path / "in" / name)] = reason
    opened = open_store()
    report = opened.ingest(NEWEST, *(reasons if place == "named" else [tmp_path / "in"]))
    assert set(report.failures) == set(reasons)
    assert [str(bad) for bad, reason in reasons.items() if reason not in report.failures[bad]] == []
    assert (report.files, report.alerts, report.skipped) == (1, 9, [])
    assert len(messages(opened, Query(table="ztf", all=True)).table) == 9


WITHOUT = {
    "notes.tar.gz": (tarred([("notes.txt", b"none")], "w:gz"), "no Parquet or Avro file is in this archive"),
    "notes.txt.gz": (gzip.compress(b"none"), "nor an archive of such files"),
    "notes.zip": (zipped([("a/notes.txt", b"none")]), "no Parquet or Avro file is in this archive"),
    "empty.zip": (zipped([]), "no Parquet or Avro file is in this archive"),
    "empty.tar": (tarred([]), "neither a Parquet nor an Avro file"),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_without_any_alert_file_the_command_fails(tmp_path: Path, name: str) -> None:
    content, reason = WITHOUT[name]
    file = saved(content, tmp_path / "in" / name)
    named = run(tmp_path, file)
    assert named.exit_code == 1
    assert f"{file}: refused: " in named.stderr
    assert reason in named.stderr
    within = run(tmp_path, file.parent)
    assert within.exit_code == 1
    assert "skipped, not an alert file" in within.stderr or name == "empty.zip"
    assert "no alert files were found: give Parquet or Avro files, archives of such files" in within.stderr
    (tmp_path / "none").mkdir()
    assert run(tmp_path, tmp_path / "none").exit_code == 1
    beside = run(tmp_path, file.parent, NEWEST)
    assert beside.exit_code == 0


def test_many_packets_are_read_and_written_together(open_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flight_server.ingest import run as ingest_run

    groups: list[int] = []
    together = ingest_run._together

    def counted(opened: Any) -> Iterable[Any]:
        for some in together(opened):
            groups.append(len(some))
            yield some

    monkeypatch.setattr(ingest_run, "_together", counted)
    packets = single_packets()
    file = saved(tarred((f"{number}.avro", packets[number % 11]) for number in range(500)), tmp_path / "night.tar")
    report = open_store().ingest(file)
    assert (report.files, report.alerts) == (500, 500)
    assert len(groups) <= 3
    folder = tmp_path / "night"
    for number in range(30):
        saved(packets[number % 11], folder / f"{number}.avro")
    groups.clear()
    assert open_store("folder").ingest(folder).files == 30
    assert groups == [30], "also those of a folder"


def test_unpacked_files_are_removed(open_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    opened = open_store()
    for name in ("night.tgz", "night.zip"):
        opened.ingest(saved(ARCHIVES[name](), tmp_path / name), saved(b"PK\x03\x04", tmp_path / "bad.zip"))
    assert not list((tmp_path / "tmp").iterdir())


UNPACKS = """
from flight_server.ingest.archives import Spool
with Spool() as spool:
    print(spool.add(b"unpacked", open("/dev/null", "rb")).path, flush=True)
    input()
"""


def test_what_a_killed_ingest_had_unpacked_is_removed_by_the_next_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with subprocess.Popen([sys.executable, "-c", UNPACKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        unpacked = Path(process.stdout.readline().strip())
        assert unpacked.read_bytes() == b"unpacked"
        assert remove_abandoned() == []
        process.kill()
    assert remove_abandoned() == [unpacked.parent]
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_refused_and_not_waited_for(open_store: Store, tmp_path: Path) -> None:
    pipe = tmp_path / "in" / "night.avro"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    report = open_store().ingest(pipe, NEWEST)
    assert report.alerts == 9
    assert "this is no regular file" in report.failures[pipe]
    assert open_store().ingest(pipe.parent).failures == {}
