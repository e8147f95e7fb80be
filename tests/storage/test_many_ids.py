"""Many objects in one scan: the rows of each object, in the requested order, from any segments."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from alert_data import MANY_AVRO, NEWEST, NIGHT, TDE
from archives import Opened, digest, messages
from hypothesis import given
from hypothesis import strategies as st
from store_faults import fill, open_archive, rename

from flight_server.protocol.query import Query
from flight_server.settings import load_settings
from flight_server.simulate import simulate
from flight_server.storage.embedded.objects import ObjectIndex
from flight_server.storage.keys import key_expression

COLUMNS = ("i:objectId", "i:jd", "i:fid", "i:magpsf", "i:ssnamenr", "d:rf_snia_vs_nonia")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    for seed in range(2):
        simulate(folder / f"{seed}", objects=150, nights=3, seed=seed, alerts_each=9)
        rename(folder / f"{seed}", seed)
    # one object's rows in two segments, and the same row in both
    return fill(folder / "store", folder / "0", TDE, NIGHT, folder / "1", MANY_AVRO, NEWEST, TDE)


@pytest.fixture(scope="module", params=["one segment", "many"])
def filled(request: pytest.FixtureRequest, several: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("filled")
    archive, store = open_archive(Path(shutil.copytree(several, folder / "store")))
    if request.param == "one segment":
        store.compact(full=True)
    yield Opened(store, archive, load_settings(environment={}, data=str(folder / "store")))
    store.close()


@pytest.fixture(scope="module")
def alone(filled: Opened) -> dict[str, pa.Table]:
    """Return the rows of each object from an answer for that object alone."""
    whole = messages(filled, Query(table="ztf", all=True, columns=COLUMNS)).table
    names = whole["i:objectId"].unique().to_pylist()
    return {name: messages(filled, Query(table="ztf", ids=(name,), columns=COLUMNS)).table for name in names}


@given(seed=st.integers(0, 2**32), count=st.sampled_from([64, 65, 200, 400]), columns=st.permutations(COLUMNS))
def test_each_object_has_the_rows_that_it_has_alone(
    filled: Opened, alone: dict[str, pa.Table], seed: int, count: int, columns: list[str]
) -> None:
    shuffle = random.Random(seed)
    known = sorted(alone)
    ids = [shuffle.choice([*known, f"none{n}", known[0][:-1], f"{known[0]}x", "A", "~" * 40]) for n in range(count)]
    ids = list(dict.fromkeys(ids))
    some = columns[: shuffle.randint(1, len(columns))]
    answer = messages(filled, Query(table="ztf", ids=tuple(ids), columns=tuple(some)))
    expected = pa.concat_tables([alone[name].select(some) for name in ids if name in alone])
    assert digest(answer.table) == digest(expected)
    assert answer.missing == [name for name in ids if name not in alone]


@given(
    names=st.lists(st.text("ABab0", min_size=1, max_size=6), min_size=1, max_size=40, unique=True),
    asked=st.lists(st.text("ABab0_", min_size=1, max_size=8), min_size=1, max_size=20),
    counts=st.integers(1, 3),
)
def test_the_index_finds_each_object_and_no_other(names: list[str], asked: list[str], counts: int) -> None:
    for text, front in (("{a}_{b}", ""), ("x_{a}_{b}", "x_"), ("{a}", "")):
        expression = key_expression(text)
        each = 1 if text == "{a}" else counts
        keys = np.array(
            sorted(f"{front}{name}" + (f"_{n}" if text != "{a}" else "") for name in names for n in range(each)), dtype="S"
        )
        index = ObjectIndex(keys, expression)
        wanted = [*asked, *names[:5]]
        low, high = index.find(np.array(expression.prefixes("a", wanted)))
        found = [keys[first:last].tolist() for first, last in zip(low.tolist(), high.tolist(), strict=True)]
        ends = "" if text == "{a}" else "_"
        for name, rows in zip(wanted, found, strict=True):
            begins = f"{front}{name}{ends}".encode()
            own = [key for key in keys.tolist() if (key == begins if text == "{a}" else key.startswith(begins))]
            assert rows == (own if name in names else []), (name, text)
