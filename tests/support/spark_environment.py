"""A separate environment for tests with Spark, Dask and Ray; made once."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from alert_data import ROOT
from environments import make_environment

FOLDER = ROOT / ".venv-spark"
EXTRAS = "spark,dask,ray"


@cache
def spark_python() -> Path:
    """Return the Python of the environment with Spark and this working copy of the package."""
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".installed"
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in ("setup.cfg", "pyproject.toml"))).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        make_environment(FOLDER, "--editable", f"{ROOT}[{EXTRAS}]")
        stamp.write_text(wanted)
    return python
