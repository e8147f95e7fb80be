"""`alertflight cutout`: output to files, terminals and pipes."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import SAMPLES, TDE, alert_files
from archives import Opened, ask
from astropy.io import fits
from click.testing import CliRunner, Result
from matplotlib.image import imread
from processes import COMMAND
from terminals import on_terminal

from flight_client.pictures import NO_COLOUR, NO_PIXEL, RAMP, drawn, levels
from flight_server.cli.app import main
from flight_server.flight import FlightServer

NAME = "ZTF20abfcszi"
HALF = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀")


@pytest.fixture
def url(server: FlightServer) -> str:
    return f"grpc://127.0.0.1:{server.port}"


def cutout(url: str, *words: str) -> Result:
    return CliRunner().invoke(main, ["cutout", "--url", url, *words])


def alerts() -> dict[int, float]:
    """Return the JD of each alert of the object, by candid."""
    rows = pq.read_table(TDE, columns=["candid", "candidate"]).to_pylist()
    return {row["candid"]: row["candidate"]["jd"] for row in rows}


def stamp_of(candid: int, kind: str = "Science") -> bytes:
    (stamp,) = oracle.stamps([TDE])[candid, kind]
    return gzip.decompress(stamp)


def image_of(stamp: bytes) -> np.ndarray[Any, Any]:
    with fits.open(io.BytesIO(stamp), ignore_missing_simple=True) as hdus:
        return np.array(hdus[0].data)


def newest() -> int:
    found = alerts()
    return max(found, key=found.__getitem__)


def test_a_fits_file_is_the_unpacked_stamp(url: str, tmp_path: Path) -> None:
    file = tmp_path / "stamp.fits"
    file.write_text("something older")
    done = cutout(url, "--id", NAME, "-o", str(file))
    assert done.exit_code == 0, done.output
    assert file.read_bytes() == stamp_of(newest())
    assert f"{NAME}: the newest of 21 alerts, candid {newest()}, JD {alerts()[newest()]:.5f}" in done.stderr
    assert f"Science, 63 x 63 pixels, in {file}" in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [file], "no draft is left"


@pytest.mark.parametrize("kind", ["Science", "Template", "Difference"])
def test_any_alert_and_kind_can_be_had(url: str, tmp_path: Path, kind: str) -> None:
    for candid in sorted(alerts())[::7]:
        done = cutout(url, "--id", NAME, "--candid", str(candid), "--kind", kind, "-o", str(tmp_path / "stamp.npy"))
        assert done.exit_code == 0, done.output
        assert f"{NAME}: candid {candid}" in done.stderr
        found = np.load(tmp_path / "stamp.npy")
        assert found.dtype == np.dtype("<f4")
        assert found.tobytes() == image_of(stamp_of(candid, kind)).astype("<f4").tobytes()


def test_a_stamp_at_the_edge_of_a_detector_keeps_its_shape(url: str, client: fl.FlightClient, tmp_path: Path) -> None:
    table = ask(
        client, table="ztf", all=True, columns=["i:objectId", "i:candid"], cutouts=["Science"], cutout_format="array"
    ).table
    (edge, *_) = (
        row for row in table.drop_columns(["b:cutoutScience_stampData"]).to_pylist() if row["b:cutoutScience_shape"] != [63, 63]
    )
    file = tmp_path / "stamp.npy"
    done = cutout(url, "--id", edge["i:objectId"], "--candid", str(edge["i:candid"]), "-o", str(file))
    assert done.exit_code == 0, done.output
    assert list(np.load(file).shape) == edge["b:cutoutScience_shape"]


def test_png_has_north_up_and_nan_transparent(url: str, tmp_path: Path) -> None:
    file = tmp_path / "stamp.png"
    assert cutout(url, "--id", NAME, "-o", str(file)).exit_code == 0
    image = image_of(stamp_of(newest()))
    shown = imread(file)
    assert shown.shape == (63 * 8, 63 * 8, 4)
    grey = shown[::8, ::8, 0][::-1]
    np.testing.assert_allclose(grey, levels(image), atol=1 / 128)
    np.testing.assert_array_equal(shown[::8, ::8, 3][::-1] == 1, ~np.isnan(image))


def test_several_kinds_have_files_of_their_own(url: str, tmp_path: Path) -> None:
    words = ["--kind", "Difference", "--kind", "Science", "--kind", "Science"]
    done = cutout(url, "--id", NAME, *words, "-o", str(tmp_path / "stamp.fits"))
    assert done.exit_code == 0
    assert {file.name for file in tmp_path.iterdir()} == {"stamp_Science.fits", "stamp_Difference.fits"}
    assert (tmp_path / "stamp_Difference.fits").read_bytes() == stamp_of(newest(), "Difference")
    shown = cutout(url, "--id", NAME, *words).stdout.splitlines()
    assert (len(shown), shown[0], shown[33]) == (66, "Difference", "Science")


def test_a_pipe_gets_letters(url: str) -> None:
    done = subprocess.run([COMMAND, "cutout", "--url", url, "--id", NAME], capture_output=True, check=True, text=True)
    assert done.stdout == drawn(image_of(stamp_of(newest())).astype("f4"), 80, coloured=False) + "\n"
    lines = done.stdout.splitlines()
    assert (len(lines), max(map(len, lines))) == (32, 63)


def test_a_terminal_gets_grey_half_blocks(url: str, tmp_path: Path) -> None:
    file = tmp_path / "stamp.npy"
    shown = on_terminal([COMMAND, "cutout", "--url", url, "--id", NAME, "--show", "-o", file], 100)
    image = np.load(file)
    wanted = np.round(levels(image) * 255)[::-1]
    lines = shown.splitlines()
    assert len(lines) == 32
    for number, line in enumerate(lines):
        found = [tuple(map(int, match)) for match in HALF.findall(line)]
        assert len(found) == 63
        assert [(red, green, blue) for red, green, blue, *_ in found] == [(level,) * 3 for level in wanted[2 * number].tolist()]
        below = [colour[3:] for colour in found]
        assert below == ([(level,) * 3 for level in wanted[2 * number + 1].tolist()] if number < 31 else [NO_COLOUR] * 63)
        assert line.endswith("\x1b[0m")


@pytest.mark.parametrize("given", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}])
def test_where_colours_are_not_wanted_there_are_letters(url: str, given: dict[str, str]) -> None:
    shown = on_terminal([COMMAND, "cutout", "--url", url, "--id", NAME], 100, **given)
    assert shown == drawn(image_of(stamp_of(newest())).astype("f4"), 100, coloured=False) + "\n"


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (63, 63), (58, 63), (7, 200)])
@pytest.mark.parametrize("width", [1, 20, 63, 80])
def test_a_drawing_is_never_wider_than_the_terminal(shape: tuple[int, int], width: int) -> None:
    image = np.linspace(-5, 5, shape[0] * shape[1], dtype="f4").reshape(shape)
    step = -(-shape[1] // width)
    letters = drawn(image, width, coloured=False).split("\n")
    blocks = [len(HALF.findall(line)) for line in drawn(image, width, coloured=True).splitlines()]
    assert blocks == [-(-shape[1] // step)] * -(-shape[0] // (2 * step))
    assert len(letters) == len(blocks)
    assert max(map(len, letters)) <= blocks[0]
    assert -(-shape[1] // step) <= width


def test_pixels_that_are_no_numbers_show_as_such() -> None:
    image = np.array([[np.nan, 1.0], [np.nan, 1.0], [3.0, np.inf], [3.0, np.inf]])
    assert drawn(image, 80, coloured=False) == f"{RAMP[-1]}{RAMP[-1]}\n{NO_PIXEL}"
    assert drawn(np.full((2, 2), np.nan), 80, coloured=False) == NO_PIXEL * 2
    assert drawn(np.full((2, 2), 7.0), 80, coloured=False) == ""


def refused(url: str, code: int, *words: str) -> str:
    done = cutout(url, *words)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return str(done.stderr)


def test_errors_name_what_is_wrong(url: str, tmp_path: Path) -> None:
    assert "no alert of 'ZTF00nowhere'" in refused(url, 2, "--id", "ZTF00nowhere")
    told = refused(url, 2, "--id", NAME, "--candid", "7")
    some = sorted(alerts(), key=alerts().__getitem__, reverse=True)[:5]
    assert f"has no alert 7; it has {', '.join(map(str, some))}, ..." in told
    assert "ends in .fits, .png, .npy, not stamp.jpg" in refused(url, 2, "--id", NAME, "-o", str(tmp_path / "stamp.jpg"))
    assert "cannot be written" in refused(url, 2, "--id", NAME, "-o", str(tmp_path / "absent" / "stamp.fits"))
    assert "Invalid value for '--kind'" in refused(url, 2, "--id", NAME, "--kind", "science")
    assert "Missing option '--id'" in refused(url, 2)
    assert "is the server running?" in refused("grpc://127.0.0.1:1", 3, "--id", NAME)
    assert list(tmp_path.iterdir()) == []


def test_png_says_what_it_needs(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.image", None)
    assert "pip install 'alertflight[plot]'" in refused(url, 2, "--id", NAME, "-o", str(tmp_path / "stamp.png"))
    assert list(tmp_path.iterdir()) == []


def test_stamps_that_are_missing_or_broken_are_failures(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    rows = pq.read_table(TDE).slice(0, 1)
    made = {"Science": None, "Template": b"\x1f\x8bnothing", "Difference": stamp_of(rows["candid"][0].as_py())[:3000]}
    for kind, stamp in made.items():
        place = rows.schema.get_field_index(f"cutout{kind}")
        cells = pa.array([{"fileName": "x", "stampData": stamp}], rows.schema.field(place).type)
        rows = rows.set_column(place, rows.schema.field(place), cells)
    pq.write_table(rows, tmp_path / "broken.parquet")
    opened = open_store()
    assert not opened.ingest(tmp_path / "broken.parquet").failures
    with FlightServer(opened.archive, opened.settings) as server:
        url = f"grpc://127.0.0.1:{server.port}"
        candid = rows["candid"][0].as_py()
        assert f"the Science cutout of alert {candid} is not in the archive" in refused(url, 1, "--id", NAME)
        assert "the Template cutout of alert" in refused(url, 1, "--id", NAME, "--kind", "Template")
        both = refused(url, 1, "--id", NAME, "--kind", "Template", "--kind", "Science")
        assert "cannot be unpacked (bad_gzip) or is not in the archive" in both
        assert f"the Difference cutout of alert {candid} cannot be decoded: bad_fits" in refused(
            url, 1, "--id", NAME, "--kind", "Difference"
        )


def test_one_stamp_travels(sample: Opened) -> None:
    asked = []

    class Listening(FlightServer):
        def do_get(self, context: Any, ticket: Any) -> Any:
            asked.append(ticket.ticket)
            return super().do_get(context, ticket)

    with Listening(sample.archive, sample.settings) as server:
        assert cutout(f"grpc://127.0.0.1:{server.port}", "--id", NAME).exit_code == 0
        with fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
            rows = [client.do_get(fl.Ticket(ticket)).read_all() for ticket in tuple(asked)]
    assert [len(table) for table in rows] == [21, 1]
    assert rows[0].schema.names == ["i:candid", "i:jd"]


def test_every_sample_can_be_drawn(url: str) -> None:
    found = {alert["objectId"] for file in alert_files(SAMPLES) for alert in oracle.read_alerts(file)}
    for object_id in sorted(found)[::12]:
        done = cutout(url, "--id", object_id, "--show")
        assert done.exit_code == 0, done.output
        assert len(done.stdout.splitlines()) >= 24
