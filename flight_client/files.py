"""Files that appear only once they are complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from flight_server.protocol.errors import BadValue

__all__ = ["check_ending", "whole_file"]


def check_ending(path: Path, endings: tuple[str, ...]) -> None:
    """Raise BadValue unless the file name ends in one of the endings."""
    if path.suffix not in endings:
        raise BadValue(f"write to a file that ends in {', '.join(endings)}, not {path.name}", field="output", value=path.name)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; it takes its name, and replaces an older one, at the end.

    Raises
    ------
    BadValue
        The file cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    try:
        with draft.open("wb") as sink:
            yield sink
        draft.replace(path)
    except OSError as error:
        raise BadValue(f"{path} cannot be written: {error.strerror}", field="output", value=path) from error
    finally:
        with suppress(OSError):
            draft.unlink()
