"""Archives and compressed files: what is in them as slices of files on disk, whatever their format.

Members are never written under their own names, so that no name in an archive can reach another file. What has to be
decompressed goes to one temporary file; memory holds a buffer of it at a time.
"""

from __future__ import annotations

import bz2
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self, cast

import pyarrow as pa
from isal import igzip, isal_zlib

from flight_server.protocol.errors import BackendLost, BadValue
from flight_server.storage.scratch import ScratchFolder

__all__ = ["HEAD_BYTES", "Part", "Slice", "Spool", "is_archive", "is_hidden", "parts_of"]

HEAD_BYTES = 512  # the header of a tar
BUFFER_BYTES = 1 << 20
DEPTH = 4  # a .tar.gz in a .zip has three layers
TAR_BLOCK = 512
ENCRYPTED = 1

Stream = Callable[[IO[bytes]], Any]
COMPRESSED: dict[bytes, Stream] = {
    b"\x1f\x8b": lambda source: igzip.IGzipFile(fileobj=source, mode="rb"),  # type: ignore[no-untyped-call]
    **{b"BZh%d1AY&SY" % level: bz2.BZ2File for level in range(1, 10)},
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda source: pa.CompressedInputStream(pa.PythonFile(source, "r"), "zstd"),
    b"\x04\x22\x4d\x18": lambda source: pa.CompressedInputStream(pa.PythonFile(source, "r"), "lz4"),
}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
UNSUPPORTED = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "RAR", b"\x1f\x9d": "compress (.Z)", b"LZIP": "lzip", b"xar!": "xar"}
DAMAGES: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    zlib.error,
    cast("type[Exception]", isal_zlib.error),
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    pa.ArrowException,
)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a file on disk: its path, the first byte, and the number of bytes; or a whole file that nobody appends to."""

    path: Path
    start: int
    size: int
    is_whole: bool = False

    @classmethod
    def whole(cls, path: Path) -> Slice:
        """Return a whole file as a slice."""
        return cls(path, 0, path.stat().st_size, is_whole=True)

    def head(self) -> bytes:
        """Return the first bytes, enough to tell formats apart."""
        with self.path.open("rb") as handle:
            handle.seek(self.start)
            return handle.read(min(HEAD_BYTES, self.size))

    def buffer(self) -> pa.Buffer:
        """Return all bytes, mapped from the file."""
        if not self.size:
            return pa.py_buffer(b"")
        with pa.memory_map(str(self.path)) as mapped:
            mapped.seek(self.start)
            return mapped.read_buffer(self.size)

    def view(self) -> memoryview:
        """Return all bytes, mapped from the file."""
        return memoryview(self.buffer()).cast("B")

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open the slice as a file of its own."""
        if self.is_whole:
            with self.path.open("rb") as handle:
                yield handle
        else:
            yield cast("IO[bytes]", pa.BufferReader(self.buffer()))


@dataclass(frozen=True, slots=True)
class Part:
    """A file, or a member of an archive: its name (that of the archive in front), and its bytes; None if nobody wants them."""

    name: Path
    content: Slice | None


class Spool:
    """A temporary file for what is decompressed; use as a context manager."""

    def __init__(self) -> None:
        self._folder = ScratchFolder("unpacked")
        self._file = self._folder.path / "unpacked"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def add(self, head: bytes, rest: Any) -> Slice:
        """Append the bytes of a stream, whose first ones have been read.

        Raises
        ------
        BackendLost
            The disk is full.
        """
        with self._file.open("ab") as sink:
            start = sink.tell()
            found = head
            while found:
                try:
                    sink.write(found)
                    sink.flush()
                except OSError as error:
                    message = f"no archive can be unpacked in {self._folder.path}: {error.strerror}; set $TMPDIR"
                    raise BackendLost(message) from error
                found = rest.read(BUFFER_BYTES)
            return Slice(self._file, start, sink.tell() - start)


def is_archive(head: bytes) -> bool:
    """Return whether a file with these first bytes is an archive or is compressed, also in a way that cannot be read."""
    return head.startswith((*COMPRESSED, *ZIP, *UNSUPPORTED)) or _is_tar(head)


def is_hidden(name: PurePosixPath) -> bool:
    """Return whether a file or a folder of its path is hidden, as Spark hides `_SUCCESS`.

    >>> is_hidden(PurePosixPath("night/__MACOSX/._1.avro")), is_hidden(PurePosixPath("../1.avro"))
    (True, False)
    """
    return any(part[0] in "._" for part in name.parts if part not in {".", ".."})


def parts_of(path: Path, spool: Spool, wanted: Callable[[bytes], bool]) -> list[Part]:
    """Return a file as its only part, or the members of an archive; hidden ones are left out.

    Parameters
    ----------
    path
        A file: .tar, .zip, or compressed by gzip, bzip2, xz, zstd or lz4, also one in the other.
    spool
        Holds what is decompressed.
    wanted
        Whether a file with these first bytes is wanted; others have no content.

    Raises
    ------
    BadValue
        The archive is damaged, encrypted or of another format; the message says what to do.
    OSError
        The file cannot be read.
    """
    return list(_parts(path, Slice.whole(path), spool, wanted, DEPTH))


def _parts(name: Path, content: Slice, spool: Spool, wanted: Callable[[bytes], bool], depth: int) -> Iterator[Part]:
    head = content.head()
    if not is_archive(head):
        yield Part(name, content if wanted(head) else None)
        return
    kind = next((kind for magic, kind in UNSUPPORTED.items() if head.startswith(magic)), None)
    if kind is not None:
        raise BadValue(f"{kind} archives cannot be read: unpack it, and give the files", field="path", value=name)
    if not depth:
        raise BadValue(f"it has more than {DEPTH} archives in one another: unpack it", field="path", value=name)
    with _naming_damage(name), content.opened() as source:
        if head.startswith(tuple(COMPRESSED)):
            members = _decompressed(name, head, source, spool, wanted)
        elif head.startswith(ZIP):
            members = _of_zip(name, source, spool, wanted)
        else:
            members = _of_tar(name, content, source)
        found = list(members)
    for inner, part in found:
        if part is None:
            yield Part(inner, None)
        else:
            yield from _parts(inner, part, spool, wanted, depth - 1)


def _decompressed(
    name: Path, head: bytes, source: IO[bytes], spool: Spool, wanted: Callable[[bytes], bool]
) -> Iterator[tuple[Path, Slice | None]]:
    opener = next(opener for magic, opener in COMPRESSED.items() if head.startswith(magic))
    with opener(source) as stream:
        begin = _first(stream)
        yield name, spool.add(begin, stream) if is_archive(begin) or wanted(begin) else None


def _of_zip(name: Path, source: IO[bytes], spool: Spool, wanted: Callable[[bytes], bool]) -> Iterator[tuple[Path, Slice | None]]:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            inner = PurePosixPath(member.filename)
            if member.is_dir() or is_hidden(inner):
                continue
            if member.flag_bits & ENCRYPTED:
                raise BadValue(f"{_shown(inner)} in it is encrypted: unpack it", field="path", value=name)
            try:
                with archive.open(member) as stream:
                    begin = _first(stream)
                    yield _inside(name, inner), spool.add(begin, stream) if is_archive(begin) or wanted(begin) else None
            except NotImplementedError as error:
                raise BadValue(f"{_shown(inner)} in it cannot be read ({error}): unpack it", field="path", value=name) from error


def _of_tar(name: Path, content: Slice, source: IO[bytes]) -> Iterator[tuple[Path, Slice | None]]:
    """Yield the members of a tar, as slices of it."""
    end = 0
    with tarfile.open(fileobj=source, mode="r:") as archive:
        for member in archive:
            end = archive.offset  # behind the member
            inner = PurePosixPath(member.name)
            if not member.isfile() or is_hidden(inner):
                continue
            if member.issparse():
                raise BadValue(f"{_shown(inner)} in it is a sparse file: unpack it", field="path", value=name)
            if member.offset_data + member.size > content.size:
                raise BadValue("the archive is damaged: it ends early", field="path", value=name)
            yield _inside(name, inner), Slice(content.path, content.start + member.offset_data, member.size)
    # tarfile ends without an error at a member that it cannot read
    source.seek(end)
    if source.read(TAR_BLOCK) != bytes(TAR_BLOCK):
        raise BadValue(f"the archive is damaged: it ends early, or is broken behind byte {end}", field="path", value=name)
    while found := source.read(BUFFER_BYTES):
        if found.strip(b"\0"):
            raise BadValue("it has more behind its end, as two archives in one file have: unpack it", field="path", value=name)


def _first(stream: Any) -> bytes:
    """Return the first bytes of a stream, which may give fewer at a time."""
    found = b""
    while len(found) < HEAD_BYTES and (more := stream.read(HEAD_BYTES - len(found))):
        found += more
    return found


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _inside(archive: Path, member: PurePosixPath) -> Path:
    """Return the name of a member behind that of its archive, also if it is absolute."""
    return archive / _shown(member)


def _shown(member: PurePosixPath) -> str:
    """Return a name as it can be printed."""
    text = "/".join(part for part in member.parts if part != "/")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@contextmanager
def _naming_damage(name: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadValue(f"the archive is damaged: {reason}"[:200], field="path", value=name) from error
