"""What a turn came to, before it is put on record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """The reply of a turn and what it rests on.

    `facts` are measured values for JSON; `changed` the ids of layers that were made or altered; `options`
    answers to a question; `error` a sentence when the message could not be done; `model_text` what the model
    said before it was checked.
    """

    reply: str
    facts: dict[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    error: str | None = None
    model_text: str = ""
