"""Lists of object IDs as spreadsheets, editors and other programs write them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import TDE
from archives import Opened
from click.testing import CliRunner

from flight_client.id_lists import read_ids
from flight_server.cli.app import main
from flight_server.flight import FlightServer
from flight_server.protocol.errors import BadValue

A, B = "ZTF20abfcszi", "ZTF18abadigg"
BOM = codecs.BOM_UTF8
NAMED = "the IDs are the column {} of {}"
FIRST = "the first line of {1}, {0}, is taken as a header, not as an ID"
PLAIN = {
    "lines": f"{A}\n{B}\n".encode(),
    "no newline at the end": f"{A}\n{B}".encode(),
    "empty lines and blanks": f"\n  {A}\t\n\n\xa0{B} \n".encode(),
    "mark": BOM + f"{A}\r\n{B}\r\n".encode(),
    "mark and quotes": BOM + f'"{A}"\r\n"{B}"\r\n'.encode(),
    "UTF-16": f"{A}\r\n{B}\r\n".encode("utf-16"),
    "UTF-16, other order": codecs.BOM_UTF16_BE + f"{A}\n{B}".encode("utf-16-be"),
    "quotes": f'"{A}"\n"{B}"\n'.encode(),
    "single quotes": f"'{A}'\n'{B}'\n".encode(),
    "commas at the end": f"{A},\n{B},\n".encode(),
    "quotes and commas": f'"{A}",\n"{B}"\n'.encode(),
    "comments": f"# my objects, by date\n{A}\n# the best\n{B}\n".encode(),
    "marks from a web page": f"\u200b{A}\u200b\n\u2060{B}\n".encode(),
    "old line ends": f"{A}\r{B}\r".encode(),
}
HEADED = {
    "header": (f"objectId\n{A}\n{B}\n".encode(), "objectId", FIRST),
    "header, mark, quotes": (BOM + f'"Object ID"\r\n"{A}"\r\n"{B}"\r\n'.encode(), "Object ID", FIRST),
    "header with the family": (f"i:objectId\n{A}\n{B}\n".encode(), "i:objectId", FIRST),
    "header of another name": (f"my targets\n{A}\n{B}\n".encode(), "my targets", FIRST),
    "columns": (f"objectId,ra,dec\n{A},1.5,2\n{B},3,4\n".encode(), "objectId", NAMED),
    "semicolons": (f'"ra";"objectId"\n"1,5";"{A}"\n"2,5";"{B}"\n'.encode(), "objectId", NAMED),
    "separator told": (BOM + f'sep=;\r\n"objectId";"ra, dec"\r\n{A};"1,2"\r\n{B};"3,4"\r\n'.encode(), "objectId", NAMED),
    "tabs": (f"id\tobjectId\n7\t{A}\n8\t{B}\n".encode(), "objectId", NAMED),
    "index of a frame": (f",objectId,class\n0,{A},SN Ia\n1,{B},\n".encode(), "objectId", NAMED),
    "quoted comma": (f'name,note\n{A},"a, b"\n{B},c\n'.encode(), "name", NAMED),
    "gaps": (f"ra,objectId\n1,{A}\n2,\n3,{B}\n".encode(), "objectId", NAMED),
}


def written(tmp_path: Path, content: bytes) -> Path:
    file = tmp_path / "ids.csv"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("name", PLAIN)
def test_each_line_is_an_id(tmp_path: Path, name: str) -> None:
    found = read_ids(written(tmp_path, PLAIN[name]))
    assert found.ids == [A, B]
    assert found.remark is None


@pytest.mark.parametrize("name", HEADED)
def test_a_header_is_no_id_and_what_was_chosen_is_said(tmp_path: Path, name: str) -> None:
    content, column, remark = HEADED[name]
    file = written(tmp_path, content)
    found = read_ids(file)
    assert found.ids == [A, B]
    assert found.remark == remark.format(column, file)


def test_a_column_can_be_named_or_numbered(tmp_path: Path) -> None:
    file = written(tmp_path, f"objectId,twin\n{A},{B}\n".encode())
    assert read_ids(file).ids == [A]
    assert read_ids(file, "twin").ids == [B]
    assert read_ids(file, "TWIN").ids == [B]
    assert read_ids(file, "2").ids == ["twin", B], "a number says that there is no header"
    single = written(tmp_path, f"targets\n{A}\n".encode())
    assert read_ids(single, "1").ids == ["targets", A]
    assert read_ids(single, "targets").ids == [A]
    numbers = written(tmp_path, b"Ceres\nVesta\n")
    assert read_ids(numbers).ids == ["Ceres", "Vesta"], "without digits nothing tells a header"


def test_parquet_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "ids.parquet"
    pd.DataFrame({"objectId": [A, None, B], "ra": [1.0, 2.0, 3.0]}).to_parquet(file)
    found = read_ids(file)
    assert found.ids == [A, B]
    assert found.remark == NAMED.format("objectId", file)
    pq.write_table(pa.table({"mine": pa.array([170028500000000000, 7])}), file)
    assert read_ids(file).ids == ["170028500000000000", "7"]


REFUSED = {
    "no header": (f"{A},1.5\n{B},2.5\n".encode(), None, "has 2 columns and no header: choose one with --ids-column NUMBER"),
    "one line of IDs": (f"{A},{B}\n".encode(), None, "or write one ID per line"),
    "no such name": (f"a,b\n{A},1\n".encode(), None, "has the columns a, b: choose one with --ids-column"),
    "two such names": (f"objectId,i:objectId\n{A},{A}\n".encode(), None, "has the columns objectId, i:objectId: choose one"),
    "wrong name": (f"objectId,ra\n{A},1\n".encode(), "obj", "has no column 'obj'; it has objectId, ra"),
    "wrong number": (f"{A},1\n".encode(), "3", "has no column 3; it has 2"),
    "empty": (b" \n\n", None, "has no IDs"),
    "only a header": (b"objectId\n", None, "has no IDs"),
    "a short line": (f"ra,objectId\n1,{A}\n2\n".encode(), None, "line 3: there is no column 2"),
    "not text": (b"\xff\xfeZ\x00\x81", None, "cannot be read"),
    "latin": ("\xe9toile\n".encode("latin-1"), None, "cannot be read"),
    "control": (f"{A}\x00\n".encode(), None, "line 1: "),
    "gzip": (b"\x1f\x8b\x08\x00", None, "is compressed: unpack it"),
    "VOTable": (b"<?xml version='1.0'?><VOTABLE/>", None, "is XML or JSON: write its IDs to a file with one per line"),
    "broken Parquet": (b"PAR1", None, "cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_list_that_is_not_clear_is_refused(tmp_path: Path, name: str) -> None:
    content, column, message = REFUSED[name]
    file = written(tmp_path, content)
    with pytest.raises(BadValue) as caught:
        read_ids(file, column)
    assert str(file) in caught.value.message
    assert message in caught.value.message


def test_pull_takes_such_a_list(tmp_path: Path, open_store: type[Opened]) -> None:
    opened = open_store()
    opened.ingest(TDE)
    file = written(tmp_path, BOM + f'"objectId","ra"\r\n"{A}","1.5"\r\n"ZTF00nobody","2"\r\n'.encode())
    with FlightServer(opened.archive, opened.settings) as server:
        words = ["pull", "--url", f"grpc://127.0.0.1:{server.port}", "--ids-file", str(file), "--columns", "i:jd"]
        done = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "a")])
        assert (done.exit_code, done.stdout) == (0, f"21 rows of 1 objects in 1 file in {tmp_path / 'a'}\n")
        assert NAMED.format("objectId", file) in done.stderr
        assert "no rows for 1 of the IDs" in done.stderr
        assert (tmp_path / "a" / "_missing.txt").read_text() == "ZTF00nobody\n"
        done = CliRunner().invoke(main, [*words, "--ids-column", "ra", "-o", str(tmp_path / "b")])
        assert (tmp_path / "b" / "_missing.txt").read_text() == "1.5\n2\n"
        assert done.exit_code == 0
    wrong = CliRunner().invoke(main, ["pull", "--all", "--ids-column", "ra", "-o", str(tmp_path / "c")])
    assert wrong.exit_code == 2
    assert "--ids-column needs --ids-file" in wrong.stderr
