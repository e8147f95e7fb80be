"""Provisional designations of the solar system: from the way they are written to the packed one.

The packed form is that of the Minor Planet Center (its page "Packed Provisional and Permanent Designations").
"""

from __future__ import annotations

import re

from flight_server.protocol.errors import BadValue

__all__ = ["packed_designation"]

WRITTEN = re.compile(r"(?P<year>\d{4})\s*(?P<half>[A-HJ-Y])(?P<second>[A-HJ-Z])\s*(?P<cycle>\d{0,5})", re.ASCII | re.IGNORECASE)
SURVEY = re.compile(r"(?P<number>\d{4})\s*(?P<survey>P-L|T-1|T-2|T-3)", re.ASCII | re.IGNORECASE)
PACKED = re.compile(r"[IJK]\d\d[A-HJ-Y][0-9A-Za-z]\d[A-HJ-Z]|(PLS|T1S|T2S|T3S)\d{4}|_[0-9A-Za-z][A-HJ-Y][0-9A-Za-z]{4}", re.ASCII)
CENTURIES = {18: "I", 19: "J", 20: "K"}
SURVEYS = {"P-L": "PLS", "T-1": "T1S", "T-2": "T2S", "T-3": "T3S"}
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MOST_CYCLES = 619  # of the short form, in which two characters have the cycle
SECOND = "ABCDEFGHJKLMNOPQRSTUVWXYZ"


def packed_designation(text: str) -> str:
    """Return the packed form of a provisional designation, which may be packed already.

    Raises
    ------
    BadValue
        It is neither form of a designation.

    Examples
    --------
    >>> [packed_designation(text) for text in ("2006 TK6", "1995 XA", "2040 P-L", "K06T06K", "2016 SA1234")]
    ['K06T06K', 'J95X00A', 'PLS2040', 'K06T06K', '_GS03za']
    """
    written = text.strip()
    if PACKED.fullmatch(written):
        return written
    if found := SURVEY.fullmatch(written):
        return SURVEYS[found["survey"].upper()] + found["number"]
    found = WRITTEN.fullmatch(written)
    century, year = divmod(int(found["year"]), 100) if found else (0, 0)
    if found is None or century not in CENTURIES:
        message = f"sso must be a provisional designation such as 2006 TK6, or its packed form K06T06K, not {text!r:.60}"
        raise BadValue(message, field="sso", value=text)
    half, second = found["half"].upper(), found["second"].upper()
    cycle = int(found["cycle"] or 0)
    if cycle <= MOST_CYCLES:
        return f"{CENTURIES[century]}{year:02d}{half}{DIGITS[cycle // 10]}{cycle % 10}{second}"
    return f"_{DIGITS[year]}{half}{_base62((cycle - MOST_CYCLES - 1) * len(SECOND) + SECOND.index(second))}"


def _base62(number: int) -> str:
    """Return a number in four digits of base 62."""
    digits = ""
    for _ in range(4):
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits
