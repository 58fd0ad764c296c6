"""How the model is, for the status line of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Status:
    """`state` gives the lamp its colour, `text` is for people."""

    state: Literal["ready", "starting", "down"]
    text: str
