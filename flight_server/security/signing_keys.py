"""The keys that tickets are signed with, out of the file that holds them."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from flight_server.protocol.errors import BadValue

__all__ = ["load_keys"]

SETTING = "tickets.signing_key_file"
SECRET_BYTES = 32
TOO_OPEN = 0o027  # permissions that a file with secrets must not give: to others any, to the group writing


def load_keys(file: Path) -> dict[str, bytes]:
    """Read keys: a line each, `KID BASE64SECRET`; empty lines and those that begin with # are ignored.

    Raises
    ------
    BadValue
        The file cannot be read, others can read it, or a line is wrong; names the line, but shows nothing of it.
    """
    try:
        with file.open("rb") as handle:
            if os.fstat(handle.fileno()).st_mode & TOO_OPEN:
                raise BadValue(f"others can get at the keys in {file}: chmod 600 it", field=SETTING, value=file)
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
    """Return what is wrong with a line of keys, or None."""
    if len(words) != 2:  # noqa: PLR2004
        return "a key is two words, KID BASE64SECRET"
    try:
        secret = base64.b64decode(words[1], validate=True)
    except ValueError:  # also where it is no ASCII
        return "the second word is not base64"
    if len(secret) < SECRET_BYTES:
        return f"the secret has {len(secret)} bytes, at least {SECRET_BYTES} are needed"
    return "another line has the same KID" if words[0] in keys else None
