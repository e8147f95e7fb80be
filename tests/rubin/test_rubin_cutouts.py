"""Cutouts of Rubin: files of three images, as they were sent, and as pixels of the first one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from rubin_archives import Ask

from flight_server.protocol.errors import BadValue, NotSupported

KINDS = ["Science", "Template", "Difference"]


@pytest.mark.both_stores
def test_cutouts_are_the_bytes_of_the_alert(asked: Ask, alerts: list[dict[str, Any]]) -> None:
    by_source = {alert["diaSource"]["diaSourceId"]: alert for alert in alerts}
    for table in ("rubin.diaSource_static", "rubin.diaSource_sso", "rubin.pixel1024"):
        answer = asked(table=table, all=True, columns=["r:diaSourceId"], cutouts=KINDS)
        assert answer.record["missing_cutouts"] == 0
        assert answer.table.schema.names == ["r:diaSourceId", *(f"b:cutout{kind}" for kind in KINDS)]
        for row in answer.table.to_pylist():
            for kind in KINDS:
                assert row[f"b:cutout{kind}"] == by_source[row["r:diaSourceId"]][f"cutout{kind}"]


def test_the_columns_of_the_answer_need_not_have_the_source(asked: Ask) -> None:
    answer = asked(all=True, columns=["r:band"], cutouts=["Science"], cutout_format="fits")
    assert answer.table.schema.names == ["r:band", "b:cutoutScience"]
    assert answer.table["b:cutoutScience"].null_count == 0


def test_arrays_are_the_first_image(asked: Ask, alerts: list[dict[str, Any]]) -> None:
    answer = asked(all=True, columns=["r:diaSourceId"], cutouts=["Science", "Difference"], cutout_format="array")
    by_source = {alert["diaSource"]["diaSourceId"]: alert for alert in alerts}
    assert len(answer.table) == 3
    for kind in ("Science", "Difference"):
        pixels = answer.table[f"b:cutout{kind}"].combine_chunks().to_numpy_ndarray()
        assert pixels.shape[1:] == (96, 96)
        for number, source in enumerate(answer.table["r:diaSourceId"].to_pylist()):
            with fits.open(io.BytesIO(by_source[source][f"cutout{kind}"])) as images:
                wanted = np.asarray(images[0].data, np.float32)
            rows, columns = answer.table[f"b:cutout{kind}_shape"][number].as_py()
            assert (rows, columns) == wanted.shape
            np.testing.assert_array_equal(pixels[number, :rows, :columns], wanted)
            assert np.isnan(pixels[number, rows:]).all()
            assert np.isnan(pixels[number, :, columns:]).all()


def test_planes_are_the_further_images(asked: Ask, alerts: list[dict[str, Any]]) -> None:
    planes = ["psf", "image", "uncertainty"]
    answer = asked(all=True, columns=["r:diaSourceId"], cutouts=["Template"], cutout_format="array", cutout_planes=planes).table
    names = ["b:cutoutTemplate_psf", "b:cutoutTemplate", "b:cutoutTemplate_uncertainty"]
    assert answer.schema.names == ["r:diaSourceId", *(part for name in names for part in (name, f"{name}_shape"))]
    by_source = {alert["diaSource"]["diaSourceId"]: alert for alert in alerts}
    for place, name in zip((2, 0, 1), names, strict=True):
        pixels = answer[name].combine_chunks().to_numpy_ndarray()
        for number, source in enumerate(answer["r:diaSourceId"].to_pylist()):
            with fits.open(io.BytesIO(by_source[source]["cutoutTemplate"])) as images:
                wanted = np.asarray(images[place].data, np.float32)
            rows, columns = answer[f"{name}_shape"][number].as_py()
            assert (rows, columns) == wanted.shape
            np.testing.assert_array_equal(pixels[number, :rows, :columns], wanted)


def test_planes_that_are_not_there_are_refused(asked: Ask) -> None:
    with pytest.raises(NotSupported, match="cutouts of ztf have no psf, only image"):
        asked(table="ztf", all=True, cutouts=["Science"], cutout_format="array", cutout_planes=["psf"])
    with pytest.raises(BadValue, match="needs the cutout_format array"):
        asked(all=True, cutouts=["Science"], cutout_planes=["psf"])
    for planes in ([], ["mask"], ["psf", "psf"]):
        with pytest.raises(BadValue, match="cutout_planes must be"):
            asked(all=True, cutouts=["Science"], cutout_format="array", cutout_planes=planes)
