"""What importing the client loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("astropy", "astropy_healpix", "click", "nested_pandas", "pandas", "polars", "torch", "yaml", "pyspark", "py4j")
LIST = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def loaded(program: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", f"{program}; {LIST}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["flight_client", "flight_client.endpoints", "flight_client.parallel", "flight_client.shards", "flight_client.padding"],
)
def test_only_pyarrow_and_msgspec_are_loaded(module: str) -> None:
    # numpy comes with pyarrow, and typing_extensions, where it is installed, with msgspec
    further = loaded(f"import {module}") - loaded("import pyarrow.flight, pyarrow.compute, msgspec")
    assert {name for name in further if name not in sys.stdlib_module_names} == {
        "alertflight_config",
        "flight_client",
        "flight_server",
    }
    assert not further & set(HEAVY)


def test_asking_for_objects_loads_no_more() -> None:
    program = "import flight_client as af; af.connect('grpc://127.0.0.1:8815').objects(['a'], columns=['i:jd'])"
    assert not loaded(program) & set(HEAVY)
