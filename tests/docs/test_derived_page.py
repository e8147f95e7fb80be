"""The page of derived columns agrees with the declarations."""

from __future__ import annotations

from pages import ROOT, prose

from flight_server.catalog.columns import TYPES
from flight_server.catalog.declarations import load_surveys
from flight_server.derive import DerivedColumn, load_derived
from flight_server.derive.classification import LABELS

PAGE = ROOT / "docs" / "reference" / "derived.md"
TYPE_NAMES = {kind: name for name, kind in TYPES.items()}


def _row(derived: DerivedColumn) -> str:
    column, derivation = derived.column, derived.derivation
    needs = [f"`{needed.name}`" for needed in derivation.needs.values()]
    optional = [f"`{needed.name}` if stored" for needed in derivation.optional.values()]
    given = [f"the {role} of a cone" for role in derivation.given]
    cells = [f"`{derived.name}`", f"`{TYPE_NAMES[column.type]}`", column.unit, derivation.over]
    return f"| {' | '.join([*cells, ', '.join([*needs, *optional, *given]), column.description])} |"


def test_the_table_of_columns_is_that_of_the_declarations() -> None:
    rows = [_row(derived) for survey in load_surveys() for derived in load_derived(survey).values()]
    found = [line for line in prose(PAGE).splitlines() if line.startswith("| `v:")]
    assert found == rows, "the table should be:\n" + "\n".join(rows)


def test_the_table_of_classes_has_all_labels_in_order() -> None:
    found = [line.split("|")[1].strip(" `") for line in prose(PAGE).splitlines() if line.startswith("| `") and "v:" not in line]
    assert [label for label in found if label in LABELS] == list(LABELS)
