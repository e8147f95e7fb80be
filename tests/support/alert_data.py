"""Alert files for tests: the samples of the repository, and the larger set next to it, if there is one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from depth import is_thorough

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_data" / "ztf"
SHARED = ROOT.parent / "shared" / "data"
GOLDEN = SHARED / "golden" / "ztf_input_cells.json.gz"

TDE = SAMPLES / "tde_ZTF20abfcszi_202008.parquet"
NIGHT = next(SAMPLES.glob("part-00002-*.parquet"))
NEWEST = next(SAMPLES.glob("part-00000-*.parquet"))
MANY_AVRO = SAMPLES / "avro_multi_alerts.avro"


def alert_files(folder: Path) -> list[Path]:
    return sorted(path for ending in ("parquet", "avro") for path in folder.rglob(f"*.{ending}") if path.is_file())


@cache
def swept_folder() -> Path:
    """Return the folder for sweeps: all available real alerts in a thorough run, else the samples."""
    whole = SHARED / "ztf"
    return whole if is_thorough() and whole.is_dir() else SAMPLES


@cache
def swept_files() -> list[Path]:
    return alert_files(swept_folder())


RUBIN = next((ROOT / "sample_data" / "rubin").glob("*.parquet"))  # four alerts of Rubin, one of the solar system


@cache
def rubin_files() -> list[Path]:
    """Return all available alerts of Rubin: the sample, or the larger set next to the repository."""
    whole = SHARED / "lsst"
    return alert_files(whole) if whole.is_dir() else [RUBIN]
