"""The names of classes, and suggestions for misspelled ones."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from flight_server.settings.resources import load_folder

__all__ = ["Classes", "load_classes", "nearest_names"]

CATALOGUES = ("(TNS)", "(SIMBAD)")
ALIKE = 0.5
MOST_LETTERS = 80  # of a word that are compared, since requests may have words of any length


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a survey's alerts.

    Parameters
    ----------
    fink
        The classes of Fink.
    tns, simbad
        The classes of the Transient Name Server and of SIMBAD, without the name of the catalog.
    extragalactic
        The SIMBAD labels that the host of a supernova may have.
    """

    fink: tuple[str, ...]
    tns: tuple[str, ...]
    simbad: tuple[str, ...]
    extragalactic: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """All names accepted in queries: Fink's, then the others prefixed by `(TNS)` and `(SIMBAD)`."""
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
    raise KeyError(f"config/classes has no survey {survey}")


def nearest_names(word: str, names: Sequence[str], most: int = 3) -> list[str]:
    """Return the names most similar to a word, the most similar first; none if no name is similar.

    Case is ignored, and so is the catalog prefix, unless the word has one too.

    >>> nearest_names("sn candidat", load_classes("ztf").names, 1)
    ['SN candidate']
    >>> nearest_names("rrlyrae", load_classes("ztf").names, 1)
    ['(SIMBAD) RRLyrae']
    """
    wanted = word[:MOST_LETTERS].casefold()
    matcher = difflib.SequenceMatcher(b=wanted, autojunk=False)  # it caches its analysis of b
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
