"""Values under their names, the ones used last kept longest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

_Value = TypeVar("_Value")


class Recent(OrderedDict[str, _Value]):
    """Values under their names, as many as their costs fit in `limit`; asking for one keeps it longer.

    The latest value stays even where it alone costs more. Without `cost` each value counts as 1.
    """

    def __init__(self, limit: int, cost: Callable[[_Value], int] = lambda value: 1) -> None:
        super().__init__()
        self._limit = limit
        self._cost = cost

    @property
    def total(self) -> int:
        """What the held values cost together."""
        return sum(map(self._cost, self.values()))

    def put(self, name: str, value: _Value) -> None:
        self[name] = value
        self.move_to_end(name)
        while len(self) > 1 and self.total > self._limit:
            self.popitem(last=False)

    def recall(self, name: str) -> _Value | None:
        if name in self:
            self.move_to_end(name)
        return self.get(name)
