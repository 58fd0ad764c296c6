"""What a session holds, as immutable values: masks and how they came to be, the layer list, its states for undo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chat_app.memory.arrays import ArrayStore, BoolArray
from chat_app.steps import RefinementStep, step_to_dict

if TYPE_CHECKING:
    import numpy.typing as npt

    from spex_model.imaging.scene import Scene

Method = Literal["model", "index", "change"]
"""Who made a mask: the model, a spectral index, or the comparison of two images."""

DEFAULT_COLOURS = {
    "water": "blue", "vegetation": "green", "trees": "brown", "buildings": "red", "bare soil": "orange",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Extraction:
    """One mask and how it came to be; never altered, a refinement makes a new one.

    `threshold` is a probability (0-1) for method "model", an index value for "index", nothing for "change". `steps` are all steps
    from the extraction on, `step` the last of them, `parent` the id of the extraction it was applied to.
    `evidence` holds what the prior measured: index, threshold, reason. `reply` is the text of the turn. Under
    `states_key` lie the hidden states of the model's reply, with which the decoder can be asked again.
    """

    id: str
    land_cover: str
    method: Method
    threshold: float
    mask_key: str
    logits_key: str | None
    arrays: ArrayStore = field(repr=False)
    reply: str = ""
    model_text: str = ""
    parent: str | None = None
    steps: tuple[RefinementStep, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)
    states_key: str | None = None

    @property
    def mask(self) -> BoolArray:
        """(H, W) bool on the scene grid, read-only."""
        return self.arrays.get_mask(self.mask_key)

    @property
    def logits(self) -> npt.NDArray[np.float32] | None:
        """(H, W) float32 logits of the model; None for an index mask."""
        return self.arrays.get_logits(self.logits_key) if self.logits_key else None

    @property
    def states(self) -> npt.NDArray[np.float32] | None:
        """(T, hidden) float32 states of the reply; None for a mask that no reply made."""
        return self.arrays.get_states(self.states_key) if self.states_key else None

    @property
    def step(self) -> RefinementStep | None:
        """The step that made this mask from its parent; None for a first extraction."""
        return self.steps[-1] if self.steps else None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays as plain values."""
        plain = (
            "id",
            "land_cover",
            "method",
            "threshold",
            "reply",
            "model_text",
            "mask_key",
            "logits_key",
            "states_key",
        )
        values = {name: getattr(self, name) for name in plain}
        steps = [step_to_dict(step) for step in self.steps]
        return {**values, "parent": self.parent, "steps": steps, "evidence": self.evidence}


@dataclass(frozen=True, eq=False)
class OtherImage:
    """A second image of the same place, as it was opened: its file name, and whether it was taken after the first.

    `remarks` say how well it can be laid on the first.
    """

    name: str
    scene: Scene = field(repr=False)
    newer: bool = True
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layer:
    """A named place in the layer list that shows one extraction."""

    id: str
    name: str
    land_cover: str
    extraction_id: str
    colour: str
    visible: bool = True


@dataclass(frozen=True)
class Snapshot:
    """Everything that undo brings back: the layer list, what is active, and what was said about the image.

    `turns` are the numbers of the turns that led here, oldest first, without those taken back; 0 for a step that no
    turn made, such as a button. States are equal whichever way led to them.
    """

    layers: tuple[Layer, ...] = ()
    active: str | None = None
    gsd_m: float | None = None
    bands: tuple[str, ...] | None = None
    label: str = ""
    turns: tuple[int, ...] = field(default=(), compare=False)
