"""The types and bounds of ticket fields in JSON, checked by msgspec.

The `description` of a type completes the error "FIELD must be ...".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict, get_args

from msgspec import Meta

from flight_server.protocol.query import (
    MAX_INTEGER,
    MAX_MESSAGE_BYTES,
    Compression,
    CutoutFormat,
    CutoutKind,
    CutoutPlane,
    Layout,
)
from flight_server.protocol.times import FORMS, NIGHT_FORMS

__all__ = ["FIELD_TYPES", "MAX_NSIDE", "ConeFields", "SkyMapFields", "TicketFields"]

MAX_NSIDE = 1024
MAX_RADIUS = 18_000  # arcsec, 5 degrees, as in the public service

Text = Annotated[str, Meta(min_length=1, description="a string")]
Count = Annotated[int, Meta(ge=1, le=MAX_INTEGER, description="a positive integer")]
ObjectId = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | Annotated[str, Meta(min_length=1)]
# floats <= MAX_INTEGER are < 2**63, since MAX_INTEGER itself is no float
Moment = Annotated[
    Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    | Annotated[float, Meta(gt=-(2.0**63), lt=2.0**63)]
    | Annotated[str, Meta(min_length=1)],
    Meta(description=FORMS),
]
Night = Annotated[int | str, Meta(description=NIGHT_FORMS)]
MessageBytes = Annotated[int, Meta(ge=1, le=MAX_MESSAGE_BYTES, description=f"a positive integer, at most {MAX_MESSAGE_BYTES}")]
Ids = Annotated[list[ObjectId], Meta(description="a list of strings or integers")]
Columns = Annotated[list[Text], Meta(description="a list of strings")]
Cutouts = Annotated[list[CutoutKind], Meta(description=f"a list of {', '.join(get_args(CutoutKind))}")]
Planes = Annotated[list[CutoutPlane], Meta(min_length=1, description=f"a list of {', '.join(get_args(CutoutPlane))}")]
KeyRange = Annotated[
    tuple[str, str], Meta(description="two strings, the first key and the end key (excluded); an empty string is an open end")
]
Nside = Annotated[Literal[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], Meta(description=f"a power of two from 1 to {MAX_NSIDE}")]
Ranges = Annotated[list[tuple[int, int]], Meta(min_length=1, description="a list of at least one pair of first and last pixel")]


class ConeFields(TypedDict):
    """The field `cone`."""

    ra: Annotated[float, Meta(ge=-360, le=360, description="a number from -360 to 360, in degrees")]
    dec: Annotated[float, Meta(ge=-90, le=90, description="a number from -90 to 90, in degrees")]
    radius: Annotated[float, Meta(ge=0, le=MAX_RADIUS, description=f"a number from 0 to {MAX_RADIUS}, in arcsec")]


class SkyMapFields(TypedDict):
    """The field `skymap`; its ranges are checked against its nside in `ticket_values`."""

    nside: Nside
    ranges: Ranges


# in this form since `class` is a Python keyword
TicketFields = TypedDict(
    "TicketFields",
    {
        "table": Text,
        "ids": Ids,
        "cone": ConeFields,
        "class": Text,
        "tag": Text,
        "sso": Text,
        "tracklet": Text,
        "name": Text,
        "night": Night,
        "skymap": SkyMapFields,
        "all": bool,
        "key_range": KeyRange,
        "columns": Columns,
        "cutouts": Cutouts,
        "cutout_format": CutoutFormat,
        "cutout_planes": Planes,
        "upper_limits": bool,
        "forced": bool,
        "layout": Layout,
        "start": Moment,
        "stop": Moment,
        "limit": Count,
        "limit_objects": Count,
        "as_of": Moment,
        "resume_after": Text,
        "compression": Compression,
        "digest": bool,
        "max_message_bytes": MessageBytes,
        "plan": Text,
    },
    total=False,
)
FIELD_TYPES: dict[str, Any] = TicketFields.__annotations__
