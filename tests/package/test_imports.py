"""The modules that a fresh process imports."""

import subprocess
import sys

import pytest

PROGRAM = """
import io, sys
import pyarrow as pa
{imports}
def loaded():
    return sorted(name for name in {heavy} if name in sys.modules)
print(*loaded())
"""
DECODE = """
from flight_server.cutouts.arrays import decode
cards = ["SIMPLE  =                    T", "BITPIX  =                  {bits}", "NAXIS   =                    2"]
cards += ["NAXIS1  =                    4", "NAXIS2  =                    3", "END"]
stamp = "".join(card.ljust(80) for card in cards).ljust(2880).encode() + bytes(2880)
found = decode(pa.array([stamp], pa.binary()), (3, 4), 10_000)
assert found.valid.all()
"""


def loaded(imports, heavy):
    program = PROGRAM.format(imports=imports, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_serving_loads_no_astropy():
    assert loaded("import flight_server.cli.app, flight_server.service.process", ["astropy", "pyarrow", "matplotlib"]) == [
        "pyarrow"
    ]


@pytest.mark.parametrize(("bits", "names"), [("-32", []), (" 16", ["astropy"])])
def test_astropy_is_loaded_for_odd_stamps_only(bits, names):
    assert loaded(DECODE.format(bits=bits), ["astropy"]) == names
