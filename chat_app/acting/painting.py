"""Ask the mask decoder again for a layer that stands: its reply's hidden states from the session, and clicks beside them."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from chat_app.acting.corrections import REACH_PX
from chat_app.acting.refine import Paint
from chat_app.memory.layers import Extraction
from chat_app.memory.session import Session
from spex_model.serving.errors import ServingError
from spex_model.serving.protocol import Point, Runtime
from spex_model.serving.states import KeepsStates

log = logging.getLogger(__name__)


def painter(session: Session, runtime: Runtime | None) -> Paint | None:
    """A function that gives a layer's logits with clicks, or None where there is no runtime that could.

    It gives None, too, for a layer that no reply made, and while the model is down: a correction then does without.
    """
    if runtime is None or not isinstance(runtime, KeepsStates):
        return None

    def paint(extraction: Extraction, clicks: tuple[Point, ...]) -> npt.NDArray[np.float32] | None:
        states = extraction.states
        if states is None:
            return None
        try:
            image_id = runtime.encode(session.scene)
            return runtime.decode(image_id, runtime.restore_states(states), points=clicks)
        except ServingError as error:
            log.warning("the decoder could not be asked again", exc_info=error)
            return None

    return paint


def correction_words(before: Extraction, after: Extraction) -> str:
    """Who followed a click that corrects: the model, or, where it did not, the look of the pixels."""
    if after.logits_key != before.logits_key:
        return "The model drew the outline anew with your click."
    why = "The model kept to its outline" if before.states_key else "No model stands behind this outline"
    return f"{why}, so I went by the look of the pixels around your click, {REACH_PX} pixels at most."
