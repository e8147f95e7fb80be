import base64
import os

import pytest

from flight_server.protocol.errors import BadValue
from flight_server.security.signing_keys import load_keys

SECRET = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(b"other" * 10).decode()


@pytest.fixture
def written(tmp_path):
    def writes(text, mode=0o600):
        file = tmp_path / "keys"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)
        return file

    return writes


def test_keys_come_in_the_order_of_the_file(written):
    keys = load_keys(written(f"# the newest first\n\nk2 {OTHER}\n  k1\t{SECRET}  \r\n"))
    assert list(keys.items()) == [("k2", b"other" * 10), ("k1", bytes(range(32)))]


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o644, 0o666])
def test_a_file_that_others_can_get_at_is_refused(written, mode):
    file = written(f"k1 {SECRET}", mode)
    with pytest.raises(BadValue, match="chmod 600") as caught:
        load_keys(file)
    assert str(file) in caught.value.message


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_its_owner_and_group_may_read_it(written, mode):
    assert list(load_keys(written(f"k1 {SECRET}", mode))) == ["k1"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"k1 {SECRET}\n{OTHER}", 2),
        (f"k1 {SECRET} more", 1),
        (f"#\n\nk1 {SECRET[:-1]}", 3),
        (f"k1 *{SECRET}", 1),
        ("k1 " + base64.b64encode(b"x" * 31).decode(), 1),
        (f"k1 {SECRET}\nk2 {SECRET}\nk1 {OTHER}", 3),
        (f"{SECRET} k1", 1),
        (b"k1 \xff" + SECRET.encode(), 1),
    ],
)
def test_a_wrong_line_is_named_but_not_shown(written, text, line):
    file = written(text)
    with pytest.raises(BadValue) as caught:
        load_keys(file)
    assert f"{file}, line {line}:" in caught.value.message
    assert caught.value.field == "tickets.signing_key_file"
    told = caught.value.to_json().decode()
    assert SECRET[:12] not in told
    assert OTHER[:12] not in told
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_a_file_without_keys_is_refused(written, text):
    with pytest.raises(BadValue, match="no key"):
        load_keys(written(text))


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    for file in (tmp_path / "none", tmp_path, tmp_path / "fifo"):
        with pytest.raises(BadValue, match="cannot be read") as caught:
            load_keys(file)
        assert str(file) in caught.value.message
