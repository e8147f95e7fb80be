"""The pages of the documentation, and a runner of their fenced blocks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=fence)[ ]*$", re.DOTALL | re.MULTILINE)
# what needs HBase, Spark or PyTorch says so with a second word; it is run by a test of its own
KINDS = {
    "bash",
    "bash cluster",
    "console",
    "drawing",
    "json",
    "python",
    "python cluster",
    "python spark",
    "python torch",
    "text",
    "text example",
    "yaml",
}
PORT = re.compile(r"\b8815\b")
SECONDS = 120

# A process of its own runs the python blocks of a page, in one namespace, and tells what each printed.
RUNNER = """
import contextlib, io, json, sys
blocks = json.load(sys.stdin)
namespace = {"__name__": "__main__"}
printed = []
for label, code in blocks:
    into = io.StringIO()
    with contextlib.redirect_stdout(into):
        exec(compile(code, label, "exec"), namespace)
    printed.append(into.getvalue())
json.dump(printed, sys.stdout)
"""


@dataclass(frozen=True)
class Block:
    """One fenced block: its page, its first line, its info string, its text, and the output shown after it."""

    page: Path
    line: int
    info: str
    text: str
    shown: Block | None = None

    @property
    def label(self) -> str:
        return f"{name(self.page)}:{self.line}"

    @property
    def expected(self) -> str | None:
        """The expected output, or None if none is shown or it is only an example."""
        return self.shown.text if self.shown and self.shown.info == "text" else None


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """Find the blocks of a page; each `text` block is joined to the block that it directly follows."""
    content = page.read_text("utf-8")
    found = list(FENCE.finditer(content))
    made: list[Block] = []
    for number, match in enumerate(found):
        block = Block(page, content.count("\n", 0, match.start()) + 1, match["info"].strip(), match["text"])
        after = found[number + 1] if number + 1 < len(found) else None
        if after and after["info"].split()[:1] == ["text"] and not content[match.end() : after.start()].strip():
            shown = Block(page, content.count("\n", 0, after.start()) + 1, after["info"].strip(), after["text"])
            block = Block(block.page, block.line, block.info, block.text, shown)
        made.append(block)
    return made


def all_blocks(*infos: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.info in infos]


def commands(block: Block) -> Iterator[str]:
    """Return the commands of a console block."""
    for line in block.text.splitlines():
        if line.startswith("$ "):
            yield line.removeprefix("$ ")


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, built from their text."""
    headings = re.findall(r"^#+ +(.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a run: that of the tests, without settings, with its own home."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ALERTFLIGHT_", "PYTHON"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for name_ in ("config", "cache"):  # astropy warns of those that are not there
        (home / name_).mkdir(exist_ok=True)
    given = {"HOME": str(home), "XDG_DATA_HOME": str(home / "share"), "XDG_CONFIG_HOME": str(home / "config")}
    return kept | given | {"XDG_CACHE_HOME": str(home / "cache"), "PATH": path, "MPLBACKEND": "Agg", "TZ": "UTC"}


def run_bash(block: Block, folder: Path, environment: Mapping[str, str], port: int) -> str:
    """Run a bash block with 100 columns; return its standard output."""
    master, terminal = os.openpty()
    try:
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", PORT.sub(str(port), block.text)],
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=errors,
                cwd=folder,
                env={**environment, "COLUMNS": "100"},
            )
            os.close(terminal)
            terminal = -1
            written = _drain(master)
            code = process.wait(SECONDS)
            errors.seek(0)
            said = errors.read().decode()
        assert code == 0, f"{block.label} exits with {code}:\n{written}{said}"
        assert "Traceback" not in said, f"{block.label}:\n{said}"
        return written
    finally:
        os.close(master)
        if terminal >= 0:
            os.close(terminal)


def _drain(master: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux: the last writer has hung up
            part = b""
        if not part:
            return b"".join(parts).decode().replace("\r\n", "\n")
        parts.append(part)


def run_python(page: list[Block], folder: Path, environment: Mapping[str, str], port: int) -> list[str]:
    """Run Python blocks in order in one process; return the output of each."""
    sent = json.dumps([(block.label, PORT.sub(str(port), block.text)) for block in page])
    command = [sys.executable, "-W", "error", "-c", RUNNER]
    ended = subprocess.run(
        command, input=sent, capture_output=True, text=True, cwd=folder, env=dict(environment), timeout=SECONDS, check=False
    )
    assert ended.returncode == 0, f"{page[0].label}:\n{ended.stderr}"
    printed: list[str] = json.loads(ended.stdout)
    return printed
