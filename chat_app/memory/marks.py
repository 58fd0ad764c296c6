"""What a person marked in the picture, and how steps that say "this" come to mean it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chat_app.steps import AddInside, DropInside, KeepInside, RefinementStep

CORRECTIONS = frozenset({"add_here", "remove_here"})
"""Steps by which a click corrects a mask."""
ON_POINTS = CORRECTIONS | {"keep_clicked", "drop_clicked"}
ON_AREA = frozenset({"keep_inside", "drop_inside", "add_inside"})
_INSIDE: dict[str, type[KeepInside] | type[DropInside] | type[AddInside]] = {
    "keep_clicked": KeepInside, "drop_clicked": DropInside, "add_here": AddInside, "remove_here": DropInside,
}  # fmt: skip


@dataclass(frozen=True)
class Marks:
    """Clicked pixels (row, column) and the (row, column) corners of a drawn polygon, in pixels of the scene.

    Corner (0, 0) is the outer corner of the first pixel, so the centre of pixel (3, 5) lies at (3.5, 5.5).
    """

    points: tuple[tuple[int, int], ...] = ()
    area: tuple[tuple[float, float], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.points or self.area)

    def fill_in(self, steps: Iterable[RefinementStep]) -> tuple[RefinementStep, ...]:
        """The steps with the marks put in where a step needs some and has none.

        "Add this" means what was drawn where nothing was clicked.
        """
        return tuple(map(self._fill, steps))

    def _fill(self, step: RefinementStep) -> RefinementStep:
        if step.op in ON_POINTS and not getattr(step, "points", ()):
            if self.area and not self.points:
                return _INSIDE[step.op](polygon=self.area)
            return step.model_copy(update={"points": self.points})
        if step.op in ON_AREA and not getattr(step, "polygon", ()):
            return step.model_copy(update={"polygon": self.area})
        return step


NO_MARKS = Marks()


def uses_marks(steps: Iterable[RefinementStep]) -> bool:
    """Whether any of the steps means something that is marked in the picture."""
    return any(step.op in ON_POINTS | ON_AREA for step in steps)
