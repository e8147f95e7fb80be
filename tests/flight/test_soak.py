"""A server under load for a long time: answers stay correct, and memory, files and threads do not grow."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.flight as fl
import pytest
from archives import Answered, ask
from click.testing import CliRunner
from memory import rss_anon
from processes import COMMAND, Serving, serving

from flight_server.cli.app import main
from flight_server.simulate import simulate

pytestmark = pytest.mark.timeout(7200)

NAMED = {f"ZTF21soak{number:03d}": 20 for number in range(40)}
NIGHTS = 4
READERS = 4
MIB = 1 << 20
# growth after the first quarter that still counts as none
MORE_BYTES = 48 * MIB
MORE_HANDLES = 16


@dataclass(frozen=True)
class Use:
    """The resources of a process: anonymous memory (bytes), open files and sockets, threads."""

    memory: int
    handles: int
    threads: int


def use_of(pid: int) -> Use:
    process = Path(f"/proc/{pid}")
    return Use(rss_anon(pid), len(list((process / "fd").iterdir())), len(list((process / "task").iterdir())))


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return folders of alerts, the first to begin with; the objects of `NAMED` are in the first alone."""
    base = tmp_path_factory.mktemp("soak")
    simulate(base / "0", objects=0, nights=NIGHTS, seed=1, named=NAMED, stamps=True)
    for number in range(1, 9):
        simulate(base / str(number), objects=30, nights=1, seed=number + 1, alerts_each=5)
    return [base / str(number) for number in range(9)]


@pytest.fixture
def running(nights: list[Path], tmp_path: Path) -> Iterator[Serving]:
    store = tmp_path / "store"
    command("ingest", nights[0], "--data", store)
    given = {"ALERTFLIGHT_COMPACTION": "{background: true, seconds: 1}"}
    with serving([COMMAND, "serve", "--port", "0", "--data", store], given) as running:
        yield running


def command(*words: str | Path) -> None:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output


def tickets(chance: random.Random) -> Mapping[str, Any]:
    """Return a ticket whose answer no later ingest changes."""
    ids = chance.sample(sorted(NAMED), chance.choice([1, 1, 1, 5, 40]))
    fields: dict[str, Any] = {"table": "ztf", "ids": ids, "digest": True}
    how = chance.randrange(5)
    if how == 0:
        fields |= {"columns": ["i:jd", "i:magpsf"], "layout": "nested"}
    elif how == 1:
        fields |= {"cutouts": ["Science"], "cutout_format": chance.choice(["bytes", "fits", "array"]), "ids": ids[:3]}
    elif how == 2:
        fields |= {"upper_limits": True, "columns": ["i:jd", "i:diffmaglim", "d:tag"]}
    elif how == 3:
        fields |= {"columns": ["i:jd", "i:magpsf", "v:classification"], "limit": chance.randrange(1, 30)}
    return fields


def hang_up(client: fl.FlightClient) -> None:
    """Request everything and stop after the first batch."""
    reader = client.do_get(fl.Ticket(json.dumps({"table": "ztf", "all": True, "max_message_bytes": 65_536})))
    reader.read_chunk()
    reader.cancel()


def soak(running: Serving, nights: list[Path], store: Path, turns: int, asks: int) -> list[Use]:
    """Run rounds of reads with concurrent ingest; return the server's resources after each round."""
    known: dict[str, str] = {}
    lock = threading.Lock()

    def read(seed: int) -> Counter[str]:
        chance, done = random.Random(seed), Counter[str]()
        with fl.connect(running.url) as client:
            for _ in range(asks):
                if chance.random() < 0.02:
                    hang_up(client)
                    done["hung up"] += 1
                    continue
                fields = tickets(chance)
                answered: Answered = ask(client, **fields)
                text, digest = json.dumps(fields), answered.record["digest"]
                with lock:
                    assert known.setdefault(text, digest) == digest, text
                assert answered.record["complete"] or "limit" in fields
                done["answered"] += 1
        return done

    held = []
    for turn in range(turns):
        with ThreadPoolExecutor(READERS) as readers:
            asked = [readers.submit(read, turn * READERS + number) for number in range(READERS)]
            command("ingest", nights[1 + turn % (len(nights) - 1)], "--data", store)
            done = sum((one.result() for one in asked), Counter[str]())
        assert done.total() == READERS * asks
        held.append(use_of(running.server))
    return held


def check_level(held: list[Use]) -> None:
    settled, last = held[len(held) // 4], held[-1]
    assert last.memory - settled.memory < MORE_BYTES, held
    assert last.handles - settled.handles < MORE_HANDLES, held
    assert last.threads - settled.threads < MORE_HANDLES, held


@pytest.mark.deep
def test_a_server_in_use_stays_level(running: Serving, nights: list[Path], tmp_path: Path) -> None:
    check_level(soak(running, nights, tmp_path / "store", turns=3, asks=20))


@pytest.mark.long
def test_a_server_in_use_for_long_stays_level(running: Serving, nights: list[Path], tmp_path: Path) -> None:
    check_level(soak(running, nights, tmp_path / "store", turns=40, asks=500))
