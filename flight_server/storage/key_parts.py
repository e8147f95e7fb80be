"""The parts of row keys: columns as text, functions of columns, and salts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.protocol.errors import BadValue

__all__ = ["Salt", "inputs_of", "is_made", "made_cells", "made_part", "salt_of"]

POLE = 90.0
PAD = "0"
_MADE = re.compile(r"(lower|healpix)(\d*)\(([^()]+)\)")  # a part that is computed from columns: lower(d:fullname)
_SALT = re.compile(r"(last|inner|lowerlast)(\d+)\(([^()]+)\)")


@dataclass(frozen=True, slots=True)
class Salt:
    """A few characters of the text of a column, padded with zeros in front.

    Parameters
    ----------
    kind
        `last`, the last characters; `inner`, those from the second on; `lowerlast`, the last ones in lower case.
    width
        How many.
    column
        The column.
    """

    kind: str
    width: int
    column: str

    def of_value(self, text: str) -> str:
        """Return the salt of one value.

        >>> Salt("last", 3, "r:diaObjectId").of_value("7"), Salt("inner", 2, "r:packed").of_value("J96T28C")
        ('007', '96')
        """
        found = text[1 : 1 + self.width] if self.kind == "inner" else text[-self.width :]
        return (found.lower() if self.kind == "lowerlast" else found).rjust(self.width, PAD)

    def of_column(self, text: pa.StringArray) -> pa.StringArray:
        """Return the salts of n values."""
        if self.kind == "inner":
            found = pc.utf8_slice_codeunits(text, 1, 1 + self.width)
        else:
            found = pc.utf8_slice_codeunits(text, -self.width)
        return pc.utf8_lpad(pc.utf8_lower(found) if self.kind == "lowerlast" else found, self.width, PAD)


def salt_of(part: str) -> Salt | None:
    """Read a part of a key expression that is a salt; return None for any other.

    >>> salt_of("last3(r:diaObjectId)")
    Salt(kind='last', width=3, column='r:diaObjectId')
    """
    found = _SALT.fullmatch(part)
    return None if found is None else Salt(found[1], int(found[2]), found[3].strip())


def is_made(part: str) -> bool:
    """Return whether a part is a function of columns, but no salt."""
    return _MADE.fullmatch(part) is not None


def inputs_of(part: str) -> tuple[str, ...]:
    """Return the columns of a part.

    >>> inputs_of("healpix128(i:ra,i:dec)"), inputs_of("i:jd")
    (('i:ra', 'i:dec'), ('i:jd',))
    """
    found = _MADE.fullmatch(part) or _SALT.fullmatch(part)
    return tuple(name.strip() for name in (found[3].split(",") if found else [part]))


def made_part(part: str, cells: Mapping[str, pa.Array]) -> pa.StringArray:
    """Return a part of the keys of n rows as text, null where an input is.

    Raises
    ------
    BadValue
        The rows lack a column of the part.
    """
    names = inputs_of(part)
    for name in names:
        if name not in cells:
            raise BadValue(f"there is no column {name}, which row keys need", field=name)
    if (salt := salt_of(part)) is not None:
        return salt.of_column(_text(cells[salt.column]))
    found = _MADE.fullmatch(part)
    if found is None:
        return _text(cells[part])
    if found[1] == "lower":
        return pc.utf8_lower(_text(cells[names[0]]))
    return _pixels(int(found[2]), *(cells[name] for name in names)).cast(pa.string())


def made_cells(made: Mapping[str, str], cells: Mapping[str, pa.Array], types: Mapping[str, pa.DataType]) -> dict[str, pa.Array]:
    """Return the cells that repeat parts of the key, of n rows; those whose inputs are missing are left out.

    Parameters
    ----------
    made
        The part of each column.
    cells
        The cells of the rows.
    types
        The types of the columns.
    """
    return {name: made_part(part, cells).cast(types[name]) for name, part in made.items() if set(inputs_of(part)) <= cells.keys()}


def _pixels(nside: int, ra: pa.Array, dec: pa.Array) -> pa.Array:
    """Return the HEALPix pixels (RING order) of positions in degrees; null for invalid positions."""
    from astropy_healpix.healpy import ang2pix

    lon, lat = (values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False) for values in (ra, dec))
    sound = np.isfinite(lon) & (np.abs(lat) <= POLE)
    found = ang2pix(nside, np.where(sound, lon, 0.0), np.where(sound, lat, 0.0), nest=False, lonlat=True)
    return pa.array(found.astype(np.int64), mask=~sound)


def _text(values: pa.Array) -> pa.StringArray:
    text = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.match_substring(text, "."), text, pc.binary_join_element_wise(text, ".0", ""))
    return text
