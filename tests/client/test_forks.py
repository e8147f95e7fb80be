"""Processes that fork while they read: both go on, or raise a clear error."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from served_samples import sample_store, serving_store

# each is a program of its own, since the tests' process has servers in it, which no fork survives
BEGIN = """
import os, sys, threading
import flight_client as af
import json
from flight_client.endpoints import Endpoint, Record, read_endpoint
from flight_client.parallel import Ahead, read_endpoints
url = sys.argv[1]
WHOLE = {"table": "ztf", "all": True, "max_message_bytes": 32768}

def child(work):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid

def ended_well(pid):
    assert os.waitpid(pid, 0)[1] == 0

def ids():
    return sorted(set(af.connect(url).all("ztf", columns=["i:objectId"]).to_arrow()["i:objectId"].to_pylist()))
"""

PROGRAMS = {
    "an open stream": """
record = Record()
pieces = read_endpoint(Endpoint(json.dumps(WHOLE).encode(), (url,)), record=record)
begun = [next(pieces).batch, next(pieces).batch]
def rest():
    rows = sum(map(len, begun)) + sum(len(piece.batch) for piece in pieces)
    assert (rows, record.rows, record.resumed) == (108, 108, 1), (rows, record)
ended_well(child(rest))
rest()
""",
    "many children of a parent that has read": """
archive = af.connect(url)
assert len(archive.all("ztf", columns=["i:jd"]).to_arrow()) == 108
def read():
    assert len(archive.all("ztf", columns=["i:jd"]).to_arrow()) == 108
for _ in range(10):
    pids = [child(read) for _ in range(3)]
    read()
    for pid in pids:
        ended_well(pid)
""",
    "threads that read": """
archive = af.connect(url, threads=3)
names = ids()
many = [Endpoint(json.dumps({"table": "ztf", "ids": [name], "max_message_bytes": 32768}).encode(), (url,)) for name in names]
def read():
    assert sum(map(len, read_endpoints(iter(many), Record(), Ahead(threads=3)))) == 108
found = []
def loop():
    for _ in range(8):
        read()
    found.append(True)
threads = [threading.Thread(target=loop) for _ in range(2)]
for one in threads:
    one.start()
forks = 0
while any(one.is_alive() for one in threads) and forks < 40:
    ended_well(child(read))
    forks += 1
for one in threads:
    one.join()
assert len(found) == 2 and forks > 2, (found, forks)
""",
    "a reading by threads that was begun before": """
many = [Endpoint(json.dumps({"table": "ztf", "ids": [name]}).encode(), (url,)) for name in ids()]
rows = read_endpoints(iter(many), Record(), Ahead(threads=2))
first = next(rows)
def go_on():
    try:
        list(rows)
    except af.errors.NotSupported as error:
        assert "read the answer again" in str(error)
    else:
        raise AssertionError
ended_well(child(go_on))
assert len(first) + sum(map(len, rows)) == 108
""",
    "multiprocessing": """
import multiprocessing
archive = af.connect(url)
names = ids()
def count(name):
    return len(archive.objects(name, columns=["i:jd"]).to_arrow())
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert sum(pool.map(count, names)) == 108
assert sum(map(count, names[:5])) >= 5
""",
    "an exit by the interpreter": """
archive = af.connect(url)
assert len(archive.all("ztf", columns=["i:jd"]).to_arrow()) == 108
pid = os.fork()
if not pid:
    assert len(archive.all("ztf", columns=["i:jd"]).to_arrow()) == 108
    sys.exit(0)
ended_well(pid)
""",
    "connections of others": """
import pyarrow.flight as fl
other = fl.connect(url)
assert list(other.list_flights())
archive = af.connect(url)
def refused():
    try:
        archive.info()
    except af.errors.NotSupported as error:
        assert "forked while its parent used gRPC" in str(error), error
    else:
        raise AssertionError
ended_well(child(refused))
assert archive.info()
other.close()
del other
ended_well(child(archive.info))
""",
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_store(sample_store(tmp_path_factory.mktemp("forks"))) as running:
        yield running.url


@pytest.mark.deep(after=2)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_fork_during(name: str, url: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(BEGIN + PROGRAMS[name])
    done = subprocess.run([sys.executable, program, url], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
