"""One exchange of the conversation, and the events that reach the screen while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from chat_app.plan import Plan

ReaderName = Literal["rules", "model", "gist", "none"]
"""Who read a message; "gist": the language model, held to another gist than that of its first plan."""


@dataclass(frozen=True)
class Turn:
    """One message and what came of it.

    `number` counts from 1. `layer_ids` are the layers of the session after the turn, `changed` those that the
    turn made or altered. `facts` holds measured values only, ready for JSON. `error` is a sentence when the
    message could not be done, and then it is part of `reply` too. `options` are answers to a question, for
    buttons. `model_text` is the model's own text before it was checked against the measurement. Under `pending_id` the
    message was on record while it was answered.
    """

    number: int
    message: str
    reply: str
    plan: Plan | None
    reader: ReaderName
    layer_ids: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    active: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    options: tuple[str, ...] = ()
    model_text: str = ""
    pending_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The turn as plain values for JSON."""
        return {
            "number": self.number,
            "message": self.message,
            "reply": self.reply,
            "plan": self.plan.to_dict() if self.plan else None,
            "reader": self.reader,
            "layer_ids": list(self.layer_ids),
            "changed": list(self.changed),
            "active": self.active,
            "facts": self.facts,
            "seconds": self.seconds,
            "error": self.error,
            "options": list(self.options),
            "model_text": self.model_text,
            "pending_id": self.pending_id,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Turn:
        """The turn that `to_dict` wrote."""
        plan = Plan.model_validate(values["plan"]) if values["plan"] else None
        lists = {name: tuple(values[name]) for name in ("layer_ids", "changed", "options")}
        return cls(**{**values, **lists, "plan": plan})


@dataclass(frozen=True)
class TextDelta:
    """More text of the reply, as it is written; `TurnDone` carries the final text, which replaces it."""

    text: str


@dataclass(frozen=True)
class LayerReady:
    """A layer was made or altered and can be drawn."""

    layer_id: str


@dataclass(frozen=True)
class TurnDone:
    """The turn is over and saved."""

    turn: Turn


Event = TextDelta | LayerReady | TurnDone
