"""A table that is dropped during an answer: never a short answer marked as complete."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cluster_admin import ClusterAdmin
from hbase_rig import Broken, Rig, Truth


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["drop", "disable"])
def test_the_answer_ends_with_an_error_that_names_the_table(
    how: str, own_tables: str, make_rig: Callable[..., Rig], admin: ClusterAdmin, truth: Truth
) -> None:
    quick = {"hbase.client.retries.number": "4", "hbase.client.operation.timeout": "20000"}
    rig = make_rig(own_tables, hbase={"properties": quick})
    table = f"{own_tables}ztf"
    gone: list[bool] = []

    def go(count: int) -> None:
        if count == 1 and not gone:
            gone.append(True)
            getattr(admin, how)(table)

    rig.passing.then = go
    found = rig.try_to_ask(dict(truth.fields("whole")) | {"max_message_bytes": 262_144})
    rig.passing.then = None
    assert gone
    if isinstance(found, Broken):
        assert found.error.code in {"table_refused", "backend_lost"}
        assert table in found.error.message
        truth.check_beginning("whole", found)
    else:  # all of it had been fetched when the table went
        truth.check("whole", found)
    again = rig.try_to_ask(truth.fields("object"))
    assert isinstance(again, Broken)
    assert again.error.code in {"table_refused", "backend_lost"}
    others = rig.ask({"table": "ztf.cutouts", "all": True, "columns": ["i:objectId"]})
    assert others.record["complete"]
    assert others.record["rows"]
    rig.store.refresh()
    with rig.client() as client:
        health = next(iter(client.do_action("health"))).body.to_pybytes().decode()
    assert '"ztf": "table_refused"' in health
    rig.rest()
