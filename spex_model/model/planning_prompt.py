"""What the planning prompt says of a conversation, in words that are the same in training and in the chat."""

from collections.abc import Iterable, Mapping
from typing import Any

_LEFT_OUT = ("question", "options", "correction")


def layers_in_short(layers: Iterable[tuple[str, int, bool]]) -> str:
    """Layers given as (name, regions, whether it is the active one): "water* 3, vegetation 12", or "none"."""
    return ", ".join(f"{name}{'*' if active else ''} {regions}" for name, regions, active in layers) or "none"


def plan_in_short(plan: Mapping[str, Any] | None) -> str:
    """The plan of the turn before, given as in its JSON: "refine near water 300 m", "extract water", or "none"."""
    return " ".join(_words({key: value for key, value in (plan or {}).items() if key not in _LEFT_OUT})) or "none"


def _words(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [word for item in value.values() for word in _words(item)]
    if isinstance(value, list | tuple):
        return [word for item in value for word in _words(item)]
    return [str(value)]
