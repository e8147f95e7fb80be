"""Reader of the file with the keys that sign tickets."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from flight_server.protocol.errors import BadValue
from flight_server.storage.regular_files import open_regular

__all__ = ["load_keys"]

SETTING = "tickets.signing_key_file"
SECRET_BYTES = 32
TOO_OPEN = 0o027  # permissions that the file must not have: any for others, write for the group


def load_keys(file: Path) -> dict[str, bytes]:
    """Read keys, one `KID BASE64SECRET` per line; empty lines and lines that begin with # are ignored.

    Raises
    ------
    BadValue
        The file cannot be read, others can read it, or a line is wrong. The error has the line number, but no part of the
        line.
    """
    try:
        with os.fdopen(open_regular(file), "rb") as handle:
            if os.fstat(handle.fileno()).st_mode & TOO_OPEN:
                raise BadValue(f"the keys in {file} are open to other users: chmod 600 it", field=SETTING, value=file)
            lines = handle.read().decode("ascii", "replace").splitlines()
    except OSError as error:
        raise BadValue(f"the keys in {file} cannot be read: {error.strerror}", field=SETTING, value=file) from None
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        wrong = _fault(words, keys)
        if wrong is not None:
            raise BadValue(f"{file}, line {number}: {wrong}", field=SETTING, value=f"line {number}")
        keys[words[0]] = base64.b64decode(words[1])
    if not keys:
        raise BadValue(f"there is no key in {file}: it needs a line KID BASE64SECRET", field=SETTING, value=file)
    return keys


def _fault(words: list[str], keys: Mapping[str, bytes]) -> str | None:
    """Return the fault of a line, or None."""
    if len(words) != 2:  # noqa: PLR2004
        return "a key is two words, KID BASE64SECRET"
    try:
        secret = base64.b64decode(words[1], validate=True)
    except ValueError:  # also if it is not ASCII
        return "the second word is not base64"
    if len(secret) < SECRET_BYTES:
        return f"the secret has {len(secret)} bytes, at least {SECRET_BYTES} are needed"
    return "another line has the same KID" if words[0] in keys else None
