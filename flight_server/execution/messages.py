"""Messages: what an answer is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

__all__ = ["Message"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an answer: a batch, and what it says beside it; nothing where it only says that there is more to come."""

    batch: pa.RecordBatch
    metadata: dict[str, Any] = field(default_factory=dict)
