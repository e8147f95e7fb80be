"""Positions and radii of many cones: checked row by row before any is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from flight_client.bad_rows import BadRows
from flight_server.protocol.errors import BadValue
from flight_server.protocol.ticket_fields import ConeFields

__all__ = ["Positions"]


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Cones, and the rows of the input that they are from.

    Parameters
    ----------
    ra, dec, radius
        float64 arrays: degrees, degrees, arcsec.
    rows
        int64: their rows in the input, from 0.
    """

    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]

    @classmethod
    def checked(cls, ra: Any, dec: Any, radius: Any, bad: BadRows) -> Positions:
        """Make positions of arrays of one shape, or single values for all.

        Raises
        ------
        BadValue
            The arrays differ in length; or a value is NaN or out of range, and such rows are to raise.
        """
        try:
            given = dict(zip(("ra", "dec", "radius"), map(np.ravel, np.broadcast_arrays(ra, dec, radius)), strict=True))
        except ValueError:
            sizes = ", ".join(f"{np.size(part)} {name}" for name, part in (("ra", ra), ("dec", dec), ("radius", radius)))
            raise BadValue(f"positions need arrays of one length, not {sizes}", field="positions") from None
        good = np.ones(len(given["ra"]), dtype=bool)
        faults: dict[int, str] = {}
        for name, kind in get_type_hints(ConeFields, include_extras=True).items():
            (bounds,) = (part for part in kind.__metadata__ if isinstance(part, Meta))
            inside = (given[name] >= bounds.ge) & (given[name] <= bounds.le)  # NaN is not
            for row in np.flatnonzero(~inside).tolist():
                faults.setdefault(row, f"{name} {given[name][row]}, not {bounds.description}")
            good &= inside
        for row in sorted(faults):
            bad.add(row, faults[row])
        return cls(given["ra"][good], given["dec"][good], given["radius"][good], np.flatnonzero(good))
