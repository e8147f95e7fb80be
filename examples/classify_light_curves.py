"""Trains a small classifier on simulated light curves, and prints its score next to that of a majority guess.

usage: python examples/classify_light_curves.py    (needs the extra torch; half a minute on a CPU)

It simulates alerts, serves them, and trains on data streamed from the server, with training and test sets that are split
by the hashes of the IDs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn
from torch.utils.data import DataLoader

import flight_client as af
from flight_client.padding import Padding
from flight_client.torch import LightCurves

ALERTFLIGHT = Path(sys.executable).with_name("alertflight")
CLASSES = ("Candidate_SN*", "Mira", "RRLyr", "Star")
OBJECTS, ALERTS_EACH, NIGHTS = 1_500, 16, 60
EPOCHS, BATCH = 20, 32
COLUMNS = ["i:jd", "i:magpsf", "i:sigmapsf"]
POINTS = 20


def main() -> None:
    """Simulate alerts, serve them, then train and test the classifier."""
    torch.manual_seed(1)
    torch.set_num_threads(1)  # the steps are too small for several threads
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        simulate(folder)
        with serving(folder / "store") as url:
            learn(af.connect(url))


def simulate(folder: Path) -> None:
    """Fill a store with simulated alerts, with light curves according to the class of each object."""
    numbers = ("--objects", OBJECTS, "--alerts", ALERTS_EACH, "--nights", NIGHTS, "--seed", 7)
    run("simulate", *numbers, "--out", folder / "alerts")
    for file in sorted((folder / "alerts").rglob("*.parquet")):
        alerts = pq.ParquetFile(file).read()
        candidate = alerts["candidate"].combine_chunks()
        fields = {field.name: candidate.field(field.name) for field in candidate.type}
        names, classes = alerts["objectId"].to_pylist(), alerts["cdsxmatch"].to_pylist()
        jd, noise = fields["jd"].to_numpy(), fields["magpsf"].to_numpy() % 0.2 - 0.1
        bright = [brightness(*one) for one in zip(names, classes, jd.tolist(), strict=True)]
        fields["magpsf"] = pa.array((np.array(bright) + noise).astype(np.float32))
        changed = pa.StructArray.from_arrays(list(fields.values()), fields=list(candidate.type))
        pq.write_table(alerts.set_column(alerts.column_names.index("candidate"), "candidate", changed), file)
    run("ingest", folder / "alerts", "--data", folder / "store")


def brightness(name: str, kind: str, jd: float) -> float:
    """Return a magnitude: supernovae fade, Miras and RR Lyrae vary slowly and fast; all others are constant."""
    random = np.random.default_rng(list(name.encode()))
    mean, start = random.uniform(16.5, 18.5), random.uniform(0, 1)
    day = jd - 2_459_580.5
    if kind == "Candidate_SN*":
        return float(mean + 0.05 * abs(day - 30 * start))
    if kind == "Mira":
        return float(mean + 1.2 * np.sin(2 * np.pi * (day / 150 + start)))
    if kind == "RRLyr":
        return float(mean + 0.5 * np.sin(2 * np.pi * (day / random.uniform(0.4, 0.8) + start)))
    return float(mean)


def run(*words: object) -> None:
    """Run a command of the package."""
    done = subprocess.run([ALERTFLIGHT, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


@contextmanager
def serving(store: Path) -> Iterator[str]:
    """Serve a store; yield its address."""
    command = [ALERTFLIGHT, "serve", "--port", "0", "--data", store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(found[1] for line in process.stdout if (found := re.match(r"ready (\S+)", line)))
        finally:
            process.terminate()


class Classifier(nn.Module):
    """A recurrent network over the points of a light curve."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = nn.GRU(len(COLUMNS) + 1, 32, batch_first=True)
        self.says = nn.Linear(64, len(CLASSES))

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return a score for each class."""
        values, mask = batch["values"], batch["mask"].unsqueeze(2)
        count = batch["lengths"].clamp(min=1)[:, None, None]
        magnitude = values[:, :, :1]
        magnitude = (magnitude - (magnitude * mask).sum(1, keepdim=True) / count) * mask
        days = batch["times"].float().unsqueeze(2)
        steps = torch.diff(days, dim=1, prepend=days[:, :1]) * mask
        points = torch.cat([magnitude, days / NIGHTS, steps / 10, values[:, :, 1:]], dim=2)
        read, _ = self.reads(points)
        seen = (read * mask).sum(1) / count.squeeze(2), read.masked_fill(~mask, -1.0).amax(1)
        found: torch.Tensor = self.says(torch.cat(seen, dim=1))
        return found


def learn(archive: af.Archive) -> None:
    """Train on objects of four classes, and print the accuracy on the test set."""
    rows = archive.all("ztf", columns=["i:objectId", "d:cdsxmatch"]).to_arrow()
    kinds = dict(zip(rows["i:objectId"].to_pylist(), rows["d:cdsxmatch"].to_pylist(), strict=True))
    labels = {name: CLASSES.index(kind) for name, kind in kinds.items() if kind in CLASSES}
    padding = Padding(missing="drop", relative=True, length=POINTS, longest="first")
    curves = archive.objects(sorted(labels), columns=COLUMNS)
    train, test = (
        LightCurves(curves, padding, batch_size=BATCH, split=split, fractions={"train": 0.75, "test": 0.25}, labels=labels)
        for split in ("train", "test")
    )
    model = Classifier()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = DataLoader(train, batch_size=None, num_workers=2, persistent_workers=True)
    for epoch in range(EPOCHS):
        train.set_epoch(epoch)
        for batch in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(batch), batch["labels"]).backward()
            optimiser.step()
    with torch.no_grad():
        found = [(model(batch).argmax(1), batch["labels"]) for batch in test]
    said, true = (torch.cat(part) for part in zip(*found, strict=True))
    most = Counter(true.tolist()).most_common(1)[0][1]
    print(f"{len(true)} objects of {len(CLASSES)} classes in the test")
    print(f"classifier      {(said == true).float().mean():.2f}")
    print(f"majority guess  {most / len(true):.2f}")


if __name__ == "__main__":
    main()
