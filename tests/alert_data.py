"""Where alerts for tests are: the samples of the repository, and the larger set beside it where there is one."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_data"
SHARED = ROOT.parent / "shared" / "data"
# sweeps go over all real alerts at hand
SWEPT = SHARED / "ztf" if (SHARED / "ztf").is_dir() else SAMPLES
GOLDEN = SHARED / "golden" / "ztf_input_cells.json.gz"

TDE = SAMPLES / "tde_ZTF20abfcszi_202008.parquet"
NIGHT = next(SAMPLES.glob("part-00002-*.parquet"))
NEWEST = next(SAMPLES.glob("part-00000-*.parquet"))
MANY_AVRO = SAMPLES / "avro_multi_alerts.avro"


def alert_files(folder: Path) -> list[Path]:
    return sorted(path for ending in ("parquet", "avro") for path in folder.rglob(f"*.{ending}") if path.is_file())
