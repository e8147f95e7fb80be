"""Tables of ZTF alerts as in broker blocks: real ones with new names, each with its own real cutouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from spark_blocks.replacing import KINDS, real_stamps, repeated, with_columns, with_fields

__all__ = ["ztf_alerts"]

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data" / "ztf"
FIRST_CANDID = 1_411_281_490_115_010_000
FIRST_JD = 2_459_000.5
LETTERS = 7
# numbers are multiplied by a prime, so that IDs are not consecutive and compress like real ones
STRIDE = 715_827_883
CANDIDS = 10**15
GZIP_TIME = slice(4, 8)  # the modification time in a gzip header, which nothing depends on


def ztf_alerts(count: int = 3000, objects: int = 2500, first: int = 0) -> pa.Table:
    """Return a table of alerts with all columns that the broker had in 2025, including histories.

    No two cutouts are equal: the pixels repeat those of real ones, but the gzip headers differ.

    Parameters
    ----------
    count
        The number of alerts.
    objects
        The number of objects; the alerts of an object are not adjacent.
    first
        The number of the first alert: tables whose numbers do not overlap share neither alerts nor objects.
    """
    real = repeated(pq.read_table(next(SAMPLES.glob("part-00000-*.parquet"))), count)
    numbers = first + np.arange(count)
    random = np.random.default_rng(first)
    candids = pa.array(FIRST_CANDID + numbers * STRIDE % CANDIDS)
    changes = {
        "candid": candids,
        "jd": pa.array(FIRST_JD + numbers * 1e-4),
        "ra": pa.array(random.uniform(0, 360, count)),
        "dec": pa.array(random.uniform(-30, 90, count)),
    }
    stamps = real_stamps(sorted(SAMPLES.glob("*.parquet")))
    cutouts = {
        f"cutout{kind}": with_fields(real[f"cutout{kind}"], {"stampData": _told_apart(stamps[kind], numbers)}) for kind in KINDS
    }
    names = _names(first + np.arange(count) % objects)
    candidates = with_fields(real["candidate"], changes)
    return with_columns(real, {"objectId": names, "candid": candids, "candidate": candidates, **cutouts})


def _names(numbers: npt.NDArray[np.int64]) -> pa.StringArray:
    digits = (numbers * STRIDE)[:, None] // 26 ** np.arange(LETTERS - 1, -1, -1) % 26
    return pa.array(["ZTF20" + "".join(chr(ord("a") + digit) for digit in row) for row in digits.tolist()])


def _told_apart(stamps: pa.BinaryArray, numbers: npt.NDArray[np.int64]) -> pa.BinaryArray:
    real = stamps.to_pylist()
    made = []
    for number in numbers.tolist():
        stamp = bytearray(real[number % len(real)])
        stamp[GZIP_TIME] = number.to_bytes(4, "little")
        made.append(bytes(stamp))
    return pa.array(made, pa.binary())
