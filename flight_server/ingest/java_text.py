"""Lists of numbers in the text format of Java, in which the broker stores a list in one cell.

The rule is that of `Double.toString` in the Java SE documentation: plain decimals from 1e-3 to below 1e7,
otherwise a mantissa with one digit before the point and an exponent, always with a digit after the point.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["double_text", "list_text"]

PLAIN_FROM, PLAIN_BELOW = 1e-3, 1e7


def double_text(values: pa.Array) -> pa.StringArray:
    """Return float64 values as text; nulls stay null.

    >>> double_text(pa.array([0.5, 2.0, 1.2e-4, 12345678.9, float("nan")])).to_pylist()
    ['0.5', '2.0', '1.2E-4', '1.23456789E7', 'NaN']
    """
    numbers = values.cast(pa.float64())
    text = numbers.cast(pa.string())
    text = pc.if_else(pc.match_substring(text, "."), text, pc.binary_join_element_wise(text, ".0", ""))
    text = pc.if_else(pc.is_nan(numbers), pa.scalar("NaN"), text)
    size = pc.abs(numbers)
    for which, spelled in (
        (pc.is_inf(numbers), _infinite),
        (pc.and_(pc.greater(size, 0.0), pc.less(size, PLAIN_FROM)), _small),
        (pc.and_(pc.greater_equal(size, PLAIN_BELOW), pc.is_finite(numbers)), _large),
    ):
        chosen = pc.fill_null(which, fill_value=False)
        if chosen.true_count:
            text = pc.replace_with_mask(text, chosen, spelled(numbers.filter(chosen).cast(pa.string())))
    return text


def _infinite(text: pa.StringArray) -> pa.StringArray:
    return pc.replace_substring(text, "inf", "Infinity")


def _small(text: pa.StringArray) -> pa.StringArray:
    """Convert Arrow's text of numbers below 1e-3, plain or with an exponent, to that of Java."""
    for zeros in range(3, 7):
        text = pc.replace_substring_regex(text, rf"^(-?)0\.0{{{zeros}}}([1-9])(\d*)$", rf"\1\2.\3E-{zeros + 1}")
    return _mantissa(text)


def _large(text: pa.StringArray) -> pa.StringArray:
    """Convert Arrow's text of numbers from 1e7 on to that of Java."""
    text = pc.replace_substring_regex(text, r"^(-?\d+)$", r"\1.0")
    for digits in range(7, 22):
        text = pc.replace_substring_regex(text, rf"^(-?)([1-9])(\d{{{digits}}})\.(\d+)$", rf"\1\2.\3\4E{digits}")
    return _mantissa(text)


def _mantissa(text: pa.StringArray) -> pa.StringArray:
    """Return mantissas with at least one digit after the point, and without trailing zeros."""
    text = pc.replace_substring_regex(text, r"^(-?\d+)e", r"\1.0e")
    text = pc.replace_substring_regex(text, r"e\+?", "E")
    text = pc.replace_substring_regex(text, r"\.(\d*?)0+E", r".\1E")
    return pc.replace_substring_regex(text, r"\.E", ".0E")


def list_text(parts: Sequence[pa.Array], present: pa.BooleanArray) -> pa.StringArray:
    """Return n lists as text like `[1.0, null, NaN]`, from one array per position; null where not `present`."""
    items = [pc.fill_null(double_text(part), "null") for part in parts]
    joined = pc.binary_join_element_wise(*items, ", ")
    return pc.if_else(present, pc.binary_join_element_wise("[", joined, "]", ""), pa.scalar(None, pa.string()))
