"""Docstrings are in the imperative or name what they describe; some first words are never right."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("flight_server", "flight_client", "hbase_bridge", "scripts", "examples", "tests")
REFUSED = {"Give", "Gives", "Say", "Says", "Tell", "Tells", "Have"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def refused(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and first word of docstrings that begin with a refused word."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            word = text.split(maxsplit=1)[0].strip(".,;:!?")
            if word in REFUSED:
                yield node.body[0].lineno, word


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_begins_with_a_refused_word(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, "the folder has Python files"
    found = [f"{file.relative_to(ROOT)}:{line}: {word}" for file in files for line, word in refused(file.read_text("utf-8"))]
    assert not found, "begin docstrings with Return, Yield, Raise, Read or a noun phrase:\n" + "\n".join(found)


def test_refused_words_are_found() -> None:
    source = '"""Says."""\n\n\nclass A:\n    """A."""\n\n    def b(self):\n        """\n        Give it.\n        """\n'
    assert list(refused(source)) == [(1, "Says"), (8, "Give")]
