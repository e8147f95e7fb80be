"""Documented limits: each has a probe that tries it, and fails once it works.

A probe that fails is good news: the statement is to be taken out of the page and out of the table below.
"""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alert_data import ROOT, TDE
from limit_probes import (
    Served,
    authentication,
    callers_have_no_names,
    conditions_on_values,
    encryption,
    http_is_not_spoken,
    kerberos,
    live_alerts,
    nobody_is_unauthenticated,
    not_from_elsewhere,
    several_processes,
    statistics_of_one_survey,
    the_first_call_is_answered,
    the_token_stays_here,
    tom_toolkit,
)
from pages import PAGES, name, prose
from processes import COMMAND, serving

SECTION = "What it does not do yet"
Probe = Callable[[Served], None]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("limits")
    keys = folder / "keys"
    keys.write_text("k1 " + base64.b64encode(b"1" * 32).decode() + "\n")
    keys.chmod(0o600)
    store = folder / "store"
    subprocess.run([COMMAND, "ingest", TDE, "--data", store], check=True, capture_output=True)
    given = {"ALERTFLIGHT_INGEST__DO_PUT": "allow", "ALERTFLIGHT_TICKETS__SIGNING_KEY_FILE": str(keys)}
    with serving([COMMAND, "serve", "--port", "0", "--data", store], given) as running:
        yield Served(running.url, running.server, store, folder)


@pytest.fixture
def served(started: Served, tmp_path: Path) -> Served:
    return Served(started.url, started.process, started.store, tmp_path)


# by the words in bold at the head of each bullet of the README
README: dict[str, Probe] = {
    "Statistics of Rubin": statistics_of_one_survey,
    "Authentication": authentication,
    "Encryption": encryption,
    "Kerberos": kerberos,
    "HTTP": http_is_not_spoken,
    "Live alerts": live_alerts,
    "Conditions on values": conditions_on_values,
    "Several processes": several_processes,
    "TOM Toolkit": tom_toolkit,
}

# what other pages say of the same kind
ELSEWHERE: list[tuple[str, str, Probe]] = [
    ("docs/how-to/from-rest.md", "not supported: these are from a service of the IMCCE", not_from_elsewhere),
    ("docs/how-to/from-rest.md", "not supported: these are files of the public service", not_from_elsewhere),
    ("docs/how-to/from-rest.md", "not supported: use astroquery to query SIMBAD", not_from_elsewhere),
    ("docs/how-to/from-rest.md", "not supported: tickets only read", not_from_elsewhere),
    ("docs/how-to/hbase.md", "Clusters that require Kerberos have not been tested", kerberos),
    ("docs/reference/client.md", "this release has none, and the token is not sent", the_token_stays_here),
    (
        "docs/reference/configuration.md",
        "There is no authentication yet, so everyone who can reach this address can read",
        authentication,
    ),
    (
        "docs/reference/configuration.md",
        "There is no authentication yet, so everyone who can reach the server can then write",
        authentication,
    ),
    ("docs/reference/ticket.md", "Callers have no names yet: `anonymous`.", callers_have_no_names),
    ("docs/reference/ticket.md", "Not used yet: the caller did not say who they are.", nobody_is_unauthenticated),
    ("docs/reference/ticket.md", "Not used yet: the server is not ready.", the_first_call_is_answered),
]

# words in which such statements are made, and where the same words say something else
WORDS = re.compile(
    r"\byet\b|\bso far\b|\bthis release\b|\bnot here\b|\bnot supported: |never deleted|not been (tried|tested)|\bto come\b"
    r"|asked? (nobody )?who they are|(is|has|with) no(ne|t| authentication)? yet",
    re.IGNORECASE,
)
OTHERWISE = [
    ("README.md", "## What it does not do yet"),
    ("docs/explanation/hbase-bridge.md", "keep-alive while there is nothing to send yet"),
    ("docs/how-to/hbase.md", "Nothing has been written to the table yet"),
    ("docs/how-to/ingest.md", "All schemas that Fink has used for ZTF so far are supported"),
    ("docs/performance.md", "What this release does, measured"),
    ("docs/reference/client.md", "Nothing is sent yet."),
    ("docs/index.md", "what it does not do yet"),
]


def text(page: Path) -> str:
    """Return the prose of a page on one line, links without their targets."""
    return on_one_line(prose(page))


def on_one_line(words: str) -> str:
    return " ".join(re.sub(r"\]\([^)]*\)", "]", words).split())


def bullets() -> dict[str, str]:
    section = prose(ROOT / "README.md").split(f"## {SECTION}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^- (.*(?:\n  .*)*)", section, re.MULTILINE)
    return {re.match(r"\*\*(.+?)\.\*\*|", bullet).group(1): on_one_line(bullet) for bullet in found}  # type: ignore[union-attr]


def test_every_limit_in_the_readme_has_a_probe_and_every_probe_a_limit() -> None:
    assert list(bullets()) == list(README)


def test_every_other_statement_of_a_limit_has_a_probe() -> None:
    pages = {name(page): text(page) for page in PAGES}
    for page, statement in [*((page, said) for page, said, _ in ELSEWHERE), *OTHERWISE]:
        assert statement in pages[page], f"{page} does not say so any more: take it out of the tables here"
        pages[page] = pages[page].replace(statement, "")
    for bullet in bullets().values():
        pages["README.md"] = pages["README.md"].replace(bullet, "")
    unheld = [
        f"{page}: {left[max(0, match.start() - 60) : match.end() + 30]}"
        for page, left in pages.items()
        for match in WORDS.finditer(left)
    ]
    assert unheld == [], "these statements have no probe"


@pytest.mark.parametrize(
    "probe", sorted({*README.values(), *(probe for *_, probe in ELSEWHERE)}, key=lambda probe: probe.__name__)
)
def test_what_the_pages_say_is_not_done_is_not_done(probe: Probe, served: Served) -> None:
    probe(served)
