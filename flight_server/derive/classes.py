"""The names of classes, and which one somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from flight_server.settings.resources import load_folder

__all__ = ["Classes", "load_classes", "nearest_names"]

CATALOGUES = ("(TNS)", "(SIMBAD)")
ALIKE = 0.5
MOST_LETTERS = 80  # that are looked at of a word, which may come from anybody


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a survey's alerts.

    Parameters
    ----------
    fink
        Those that Fink gives.
    tns, simbad
        Those of the Transient Name Server and of SIMBAD, without the name of the catalog.
    extragalactic
        The labels of SIMBAD that a supernova's host may have.
    """

    fink: tuple[str, ...]
    tns: tuple[str, ...]
    simbad: tuple[str, ...]
    extragalactic: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """All names by which one can ask: Fink's, then the others behind `(TNS)` and `(SIMBAD)`."""
        return (*self.fink, *(f"(TNS) {name}" for name in self.tns), *(f"(SIMBAD) {name}" for name in self.simbad))


@cache
def load_classes(survey: str) -> Classes:
    """Load the packaged classes of a survey.

    >>> load_classes("ztf").names[:2]
    ('(CTA) Blazar high state', '(CTA) Blazar low state')
    """
    for words in load_folder("classes"):
        if words["survey"] == survey:
            return Classes(
                fink=tuple(words["fink"]),
                tns=tuple(words["tns"]),
                simbad=tuple(words["simbad"]),
                extragalactic=frozenset(words["extragalactic"]),
            )
    raise KeyError(f"config/classes says nothing of {survey}")


def nearest_names(word: str, names: Sequence[str], most: int = 3) -> list[str]:
    """Give the names most like a word, the likest first; none if no name is like it.

    Capitals do not count, nor does the name of a catalog in front, unless the word has one too.

    >>> nearest_names("sn candidat", load_classes("ztf").names, 1)
    ['SN candidate']
    >>> nearest_names("rrlyrae", load_classes("ztf").names, 1)
    ['(SIMBAD) RRLyrae']
    """
    wanted = word[:MOST_LETTERS].casefold()
    matcher = difflib.SequenceMatcher(b=wanted, autojunk=False)  # it keeps what it learns of b
    found = []
    for place, name in enumerate(names):
        spellings = {name.casefold(), _without_catalog(name).casefold()}
        found.append((max(_likeness(matcher, spelling) for spelling in spellings), -place))
    return [names[-place] for likeness, place in sorted(found, reverse=True)[:most] if likeness >= ALIKE]


def _likeness(matcher: difflib.SequenceMatcher[str], spelling: str) -> float:
    matcher.set_seq1(spelling)
    return matcher.ratio()


def _without_catalog(name: str) -> str:
    for catalog in CATALOGUES:
        name = name.removeprefix(f"{catalog} ")
    return name
