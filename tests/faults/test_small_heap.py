"""A gateway with too little memory: it exits, is replaced, and no answer is wrong."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hbase_rig import Broken, Rig, Truth


@pytest.mark.timeout(600)
def test_answers_are_right_or_end_with_an_error(make_rig: Callable[..., Rig], truth: Truth) -> None:
    rig = make_rig(gateway={"heap": "28m"}, limits={"seconds": 120.0})
    kinds = ["whole", "objects", "limits", "object"] * 4
    with ThreadPoolExecutor(len(kinds)) as pool:
        found = list(pool.map(lambda kind: rig.try_to_ask(truth.fields(kind)), kinds))
    for kind, answer in zip(kinds, found, strict=True):
        if isinstance(answer, Broken):
            assert answer.error.code in {"backend_lost", "overloaded", "deadline"}, answer.error
            truth.check_beginning(kind, answer)
        else:
            truth.check(kind, answer)
    print(f"{sum(isinstance(answer, Broken) for answer in found)} of {len(found)} broken, {rig.gateway.starts} starts")
    assert rig.gateway.starts > 1, "the heap was not too small"
    rig.rest()
