"""Find a land cover: spectral words -> the model's reply, streamed -> its hidden states -> logits -> a layer's mask."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chat_app.acting.offers import limit_words
from chat_app.answering.uncertainty import WEIGHTS_CONFIG, read_calibration
from chat_app.errors import StepError
from chat_app.memory.layers import Extraction
from chat_app.memory.session import Session
from chat_app.prompts import render
from chat_app.settings import Settings
from spex_model.imaging.bands import SLOTS
from spex_model.imaging.indices import Prior, prior_for
from spex_model.imaging.spectral_words import put_into_words
from spex_model.serving.errors import BadRequest, ServingError, UnknownImage, UnknownStates
from spex_model.serving.protocol import Runtime
from spex_model.serving.states import KeepsStates, States

log = logging.getLogger(__name__)

MODEL_THRESHOLD = 0.5


@dataclass(frozen=True)
class Found:
    """An extraction that is not shown yet, the model's own text, and a sentence that says why the model did not help.

    `prior_regions` and `prompt_evidence` are what the model read of the spectral index.
    """

    extraction: Extraction
    model_text: str
    prior_regions: int
    trouble: str = ""
    prompt_evidence: str = ""


def extract(
    session: Session,
    land_cover: str,
    runtime: Runtime | None,
    settings: Settings,
    *,
    index: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Found:
    """Extract one land cover; `say` gets the model's text as it is written, and may raise to stop it.

    With `index`, or when the model is down, the mask is that of a spectral index, and the extraction says so.
    Raises StepError when neither can answer.
    """
    if not set(session.scene.bands) & set(SLOTS):
        raise StepError(
            f"I can't tell what the bands of this image are ({', '.join(session.scene.bands[:8])}). Say which they are in the "
            'file\'s order, for example "the bands are blue, green, red, nir".'
        )
    if index is not None:
        return _by_index(session, prior_for(session.scene, land_cover, index=index))
    words = put_into_words(session.scene, land_cover, limit=settings.max_prompt_regions)
    evidence: dict[str, Any] = {
        "index": words.prior.index,
        "threshold": words.prior.threshold,
        "reason": words.prior.reason,
    }
    if (limit := limit_words(land_cover, session.scene)) is not None:
        return _by_index(session, words.prior, limit)
    if runtime is None:
        return _by_index(session, words.prior, "The model is not loaded.")
    prompt = render(
        "extract", settings.prompts_dir, land_cover=land_cover, evidence=words.evidence, attributes=words.attributes
    )
    try:
        text, logits, states = _ask(session, runtime, prompt, settings.max_answer_tokens, say)
    except BadRequest:
        raise
    except ServingError as error:
        log.warning("the model could not extract %s", land_cover, exc_info=error)
        return _by_index(session, words.prior, f"The model could not answer: {error}")
    config = settings.checkpoint / "spex.json" if settings.checkpoint else WEIGHTS_CONFIG
    if (calibration := read_calibration(land_cover, config)) is not None:
        evidence["calibration"] = calibration.to_dict()
    extraction = session.make_extraction(
        logits > 0,
        logits=logits,
        states=states,
        land_cover=land_cover,
        method="model",
        threshold=MODEL_THRESHOLD,
        model_text=text,
        evidence=evidence,
    )
    return Found(extraction, text, words.regions, prompt_evidence=words.evidence)


def _ask(
    session: Session, runtime: Runtime, prompt: str, max_tokens: int, say: Callable[[str], None]
) -> tuple[str, np.ndarray, States | None]:
    """The model's text, logits (H, W) and the states of the text; once more from the start when a service forgot the image in between."""
    for attempt in range(2):
        image_id = runtime.encode(session.scene)
        with runtime.generate(image_id, prompt, max_tokens=max_tokens) as answer:
            try:
                for delta in answer:
                    if attempt == 0:
                        say(delta)
                logits = runtime.decode(image_id, answer.states_ref)
                states = runtime.read_states(answer.states_ref) if isinstance(runtime, KeepsStates) else None
                return answer.text.strip(), logits, states
            except (UnknownImage, UnknownStates):
                if attempt:
                    raise
                log.info("the image or the reply was forgotten; asking again")
    raise AssertionError("unreachable")


def _by_index(session: Session, prior: Prior, trouble: str = "") -> Found:
    if prior.index is None:
        raise StepError(f"{trouble} {prior.reason}".strip())
    evidence: dict[str, Any] = {"index": prior.index, "threshold": prior.threshold, "reason": prior.reason}
    extraction = session.make_extraction(
        prior.mask,
        land_cover=prior.land_cover,
        method="index",
        threshold=float(prior.threshold or 0.0),
        evidence=evidence,
    )
    return Found(extraction, "", 0, trouble)
