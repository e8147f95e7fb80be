"""A program that reads light curves with workers, ranks and epochs, and prints the objects as JSON.

usage: loading.py URL WHAT ARGUMENTS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from torch import distributed, multiprocessing
from torch.utils.data import DataLoader

import flight_client as af
from flight_client.torch import LightCurves

COLUMNS = ["i:jd", "i:magpsf", "i:fid"]


def data(url: str, **how: Any) -> LightCurves:
    archive = af.connect(url)
    ids = sorted(set(archive.all("ztf", columns=["i:objectId"]).to_arrow()["i:objectId"].to_pylist()))
    return LightCurves(archive.objects(ids, columns=COLUMNS), batch_size=5, objects_each=6, buffer=10, **how)


def loader(found: LightCurves, context: str, **how: Any) -> DataLoader[Any]:
    return DataLoader(found, batch_size=None, num_workers=2, multiprocessing_context=context, **how)


def ranks(url: str, context: str) -> list[list[str]]:
    """Return the objects of each batch, for two ranks with two workers each."""
    made = [data(url, rank=rank, world_size=2) for rank in (0, 1)]
    return [batch["ids"].tolist() for one in made for batch in loader(one, context)]


def epochs(url: str, context: str) -> list[list[str]]:
    """Return the order of objects in three epochs of persistent workers, the last one like the first."""
    made = data(url)
    loading = loader(made, context, persistent_workers=True)
    orders = []
    for epoch in (0, 1, 0):
        made.set_epoch(epoch)
        orders.append([name for batch in loading for name in batch["ids"].tolist()])
    return orders


def cut(url: str, context: str) -> list[dict[str, Any]]:
    """Return the objects of an epoch that is interrupted after each of some batches: those before and those after."""
    found = []
    for most in (0, 1, 5):
        made = data(url)
        made.set_epoch(3)
        before: list[str] = []
        batches = iter(loader(made, context))
        for _ in range(most):
            batch = next(batches)
            before += batch["ids"].tolist()
            made.mark(batch)
        del batches
        state = json.dumps(made.state_dict())
        again = data(url)
        again.load_state_dict(json.loads(state))
        after = [name for batch in loader(again, context) for name in batch["ids"].tolist()]
        again.set_epoch(4)
        later = [name for batch in loader(again, context) for name in batch["ids"].tolist()]
        found.append({"before": before, "after": after, "later": later})
    return found


def _member(rank: int, url: str, folder: str) -> None:
    """Run one of two processes of `torch.distributed`; both use the plan of the first."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = LightCurves(af.connect(url).all("ztf", columns=COLUMNS), batch_size=5)
    told = {"rank": found.rank, "endpoints": [one.ticket.decode() for one in found.endpoints]}
    told |= {"ids": [name for batch in found for name in batch["ids"].tolist()]}
    try:
        LightCurves(af.connect(url).all("ztf", columns=["i:mag"]))
    except af.errors.UnknownColumn as error:
        told["refused"] = error.field
    Path(folder, f"{rank}.json").write_text(json.dumps(told))
    distributed.destroy_process_group()


def members(url: str, folder: str) -> list[dict[str, Any]]:
    """Return the results of two processes of `torch.distributed`."""
    multiprocessing.spawn(_member, (url, folder), nprocs=2)
    return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in (0, 1)]


if __name__ == "__main__":
    url, what, argument = sys.argv[1:]
    print(json.dumps({"ranks": ranks, "epochs": epochs, "cut": cut, "members": members}[what](url, argument)))
