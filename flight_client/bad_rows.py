"""Rows of the input without a usable value: an error that names the row, or a list of skipped rows."""

from __future__ import annotations

from flight_client.notices import warn
from flight_server.protocol.errors import BadValue

__all__ = ["BadRows"]

CHOICES = ("raise", "skip")
SHOWN = 5


class BadRows:
    """Handles rows without a usable value.

    Parameters
    ----------
    bad
        `raise`: the first one is an error; `skip`: they are collected in `skipped`.
    field
        The field that the rows are of.

    Raises
    ------
    BadValue
        `bad` is neither.
    """

    def __init__(self, bad: str, field: str) -> None:
        if bad not in CHOICES:
            raise BadValue(f"bad must be raise or skip, not {bad!r:.40}", field="bad", value=bad)
        self.skipped: list[int] = []
        self._bad = bad
        self._field = field
        self._reasons: list[str] = []

    def add(self, row: int, reason: str) -> None:
        """Add a row, counted from 0.

        Raises
        ------
        BadValue
            Bad rows are to raise.
        """
        if self._bad == "raise":
            message = f'row {row} of {self._field} has {reason}: correct it, or leave such rows out with bad="skip"'
            raise BadValue(message, field=self._field, value=row)
        self.skipped.append(row)
        if len(self._reasons) < SHOWN:
            self._reasons.append(f"row {row} has {reason}")

    def report(self) -> list[str]:
        """Warn of skipped rows; return the warning as a list, empty if there are none."""
        if not self.skipped:
            return []
        count = len(self.skipped)
        more = "" if count == len(self._reasons) else "; ..."
        text = f"{count:,} row{'s' * (count != 1)} of {self._field} skipped: {'; '.join(self._reasons)}{more}"
        warn(text)
        return [text]
