"""What the graph carries from node to node: ids and text, never arrays; and where a plan goes."""

from __future__ import annotations

from typing import Any, TypedDict

from chat_app.errors import MessageError
from chat_app.memory.marks import Marks
from chat_app.plan import Plan
from chat_app.settings import Settings

ANSWERED = frozenset(
    {
        "measure",
        "count",
        "locate",
        "list",
        "describe",
        "explain",
        "compare",
        "help",
        "small_talk",
        "out_of_scope",
        "clarify",
    }
)
WORK = ("extract", "refine", "change", "act", "answer")
"""The nodes of which a turn runs one."""


class TurnState(TypedDict, total=False):
    """What the graph carries and the checkpointer stores: ids and text, never arrays."""

    session_id: str
    message: str
    points: list[tuple[int, int]]
    area: list[tuple[float, float]]
    plan: dict[str, Any]
    reader: str
    reply: str
    facts: dict[str, Any]
    changed: list[str]
    options: list[str]
    error: str | None
    model_text: str


def begin(session_id: str, message: str, marks: Marks, plan: Plan | None) -> TurnState:
    """The state of a turn that begins; nothing of the turn before is left in it."""
    return {
        "session_id": session_id, "message": message, "points": list(marks.points), "area": list(marks.area),
        "plan": plan.to_dict() if plan else {}, "reader": "none", "reply": "", "facts": {}, "changed": [], "options": [],
        "error": None, "model_text": "",
    }  # fmt: skip


def route(state: TurnState) -> str:
    """The node that does what the plan asks for."""
    intent = state["plan"]["intent"]
    if intent in ("extract", "refine", "change"):
        return intent
    return "answer" if intent in ANSWERED else "act"


def check_message(message: str, settings: Settings) -> None:
    """Raise MessageError for a message that is empty or too long."""
    if not message.strip():
        raise MessageError('The message is empty. Say what you want to see, for example "show me the water".')
    if len(message) > settings.max_message_chars:
        raise MessageError(
            f"The message has {len(message):,} characters; up to {settings.max_message_chars:,} are read. Please say it shorter."
        )


def marks_of(state: TurnState) -> Marks:
    """The marks of a turn; the checkpointer may give lists for what went in as tuples."""
    return Marks(
        tuple((int(row), int(column)) for row, column in state["points"]),
        tuple((float(row), float(column)) for row, column in state["area"]),
    )
