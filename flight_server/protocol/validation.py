"""Explanations of type errors: the name of the wrong part, its value, and the expected type.

msgspec checks values against type annotations. Its errors name neither the keys of mappings nor the value found, and use
names of Python types. So a refused value is checked again, part by part. The expected type is the `description` in the
type's `msgspec.Meta`, else the type itself.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

__all__ = ["Fault", "explain"]

WORDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first part of a value that is not of its type.

    Its dotted name, its value, the expected type, and msgspec's message.
    """

    name: str
    value: object
    wanted: str
    reason: str


def explain(error: msgspec.ValidationError, kind: Any, value: object, name: str) -> Fault:
    """Return the fault of a value that msgspec refused.

    Parameters
    ----------
    error
        The error that msgspec raised.
    kind
        The type that the value is not of.
    value
        The value decoded from JSON or YAML.
    name
        The name of the value; empty if its parts have names of their own.

    Examples
    --------
    >>> Ports = Mapping[str, Annotated[int, msgspec.Meta(le=65_535, description="a port")]]
    >>> try:
    ...     msgspec.convert({"http": 80, "flight": 70_000}, Ports)
    ... except msgspec.ValidationError as error:
    ...     explain(error, Ports, {"http": 80, "flight": 70_000}, "ports")
    Fault(name='ports.flight', value=70000, wanted='a port', reason='Expected `int` <= 65535')
    """
    bare, wanted = _describe(kind)
    inner = None
    if isinstance(value, Mapping):
        inner = _first((of, value[key], f"{name}.{key}".lstrip(".")) for key, of in _parts(bare, wanted, value))
        if inner is not None:
            return inner
    elif isinstance(value, list) and _is_list(bare):  # the item is shown under the name of the list
        inner = _first((get_args(bare)[0], item, name) for item in value)
    return Fault(name, value if inner is None else inner.value, wanted or str(error), str(error))


def _first(parts: Iterable[tuple[Any, object, str]]) -> Fault | None:
    """Return the fault of the first value that is not of its type."""
    for kind, value, name in parts:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            return explain(error, kind, value, name)
    return None


def _describe(kind: Any) -> tuple[Any, str | None]:
    """Return a type without its annotations, and its description, if there is one."""
    if get_origin(kind) is Annotated:
        bare, *notes = get_args(kind)
        described = [note.description for note in notes if isinstance(note, msgspec.Meta) and note.description]
        return (bare, described[-1]) if described else _describe(bare)
    if get_origin(kind) is Literal:
        return kind, f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) in {types.UnionType, Union} and get_args(kind)[1:] == (types.NoneType,):
        bare, wanted = _describe(get_args(kind)[0])
        return bare, wanted and f"{wanted} or null"
    return kind, WORDS.get(kind)


def _parts(kind: Any, wanted: str | None, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys of an object that can be checked one by one, with their types."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    elif isinstance(kind, type) and hasattr(kind, "__annotations__"):
        hints = get_type_hints(kind, include_extras=True)
    elif get_origin(kind) is Mapping and wanted is None:
        hints = dict.fromkeys(value, get_args(kind)[1])
    else:
        return
    yield from ((key, hints[key]) for key in hints if key in value)


def _is_list(kind: Any) -> bool:
    """Return whether all items of a list are of one type."""
    return get_origin(kind) is list or (get_origin(kind) is tuple and get_args(kind)[1:] == (...,))
