"""The model in this process, through transformers: small machines, demos and most tests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import torch

from spex_model.model.click_head import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, POINT_ADD, POINT_REMOVE
from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import Painting, SceneFeatures, paint
from spex_model.model.weights import (
    IMAGE_TOKEN_ID,
    WeightsError,
    build_checkpoint,
    default_cache_dir,
    load_language,
    load_vision,
)
from spex_model.serving.errors import RuntimeUnavailable, UnknownImage, UnknownStates
from spex_model.serving.feature_store import FeatureStore, StoredTiles
from spex_model.serving.language import Answer, LanguageModel
from spex_model.serving.protocol import Box, Generation, GenerationResult, Health, Point
from spex_model.serving.recent import Recent
from spex_model.serving.states import States, check_states, name_states

if TYPE_CHECKING:
    from spex_model.imaging.scene import Scene

log = logging.getLogger(__name__)

MAX_IMAGES, MAX_STATES = 6, 256
TILE_MEMORY_BYTES, TILE_DISK_BYTES = 1 << 30, 8 << 30
"""For encoded tiles of 16 MB; the largest scene that the chat takes has some 330."""


def prompt_points(points: Sequence[Point], boxes: Sequence[Box]) -> list[tuple[float, float, int]]:
    """Clicks and boxes as the decoder's (row, column, label) prompts in scene pixels."""
    prompts = [(point.row, point.col, POINT_ADD if point.positive else POINT_REMOVE) for point in points]
    for box in boxes:
        prompts += [(box.row0, box.col0, BOX_TOP_LEFT), (box.row1 - 1, box.col1 - 1, BOX_BOTTOM_RIGHT)]
    return prompts


def _open_store(folder: Path) -> FeatureStore:
    """A store for tiles with its files under a folder, or in memory alone where that can't be written to."""
    try:
        return FeatureStore(folder, memory_bytes=TILE_MEMORY_BYTES, disk_bytes=TILE_DISK_BYTES)
    except OSError as error:
        log.warning("encoded tiles are kept in memory only, since %s can't be used: %s", folder, error)
        return FeatureStore(None, memory_bytes=TILE_MEMORY_BYTES)


class EmbeddedRuntime:
    """`Runtime` without servers. Features of the last images and states of the last answers are held.

    `store` keeps the encoded tiles; without one, 1 GB of memory does. Any thread may call.
    """

    name = "embedded"

    def __init__(self, vision: SpexVision, language: LanguageModel, store: FeatureStore | None = None) -> None:
        self._vision = vision
        self._language = language
        self._store = store or FeatureStore(None, memory_bytes=TILE_MEMORY_BYTES)
        # Encodes and paints tile by tile, whoever asks first: a large mask holds nobody up for longer than a tile.
        self._vision_worker = ThreadPoolExecutor(1, "vision")
        self._images: Recent[SceneFeatures] = Recent(MAX_IMAGES)
        self._states: Recent[torch.Tensor] = Recent(MAX_STATES)
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls, checkpoint: Path | None = None, *, cache_dir: Path | None = None, device: str = "cpu"
    ) -> EmbeddedRuntime:
        """Load a built checkpoint, or build it first. Raises `RuntimeUnavailable` with the reason."""
        try:
            folder = checkpoint or build_checkpoint(cache_dir)
            vision = load_vision(folder, device=device)
            model, tokenizer, projector = load_language(folder, device=device)
        except (WeightsError, OSError, RuntimeError) as error:
            raise RuntimeUnavailable(f"The model can't be loaded: {error}") from error
        store = _open_store((cache_dir or default_cache_dir()) / "features")
        return cls(vision, LanguageModel(model, tokenizer, projector, image_token_id=IMAGE_TOKEN_ID), store)

    def describe_health(self) -> Health:
        """Ready as soon as it exists."""
        return Health(True, "The model runs inside the chat (transformers, float32).")

    def encode(self, scene: Scene) -> str:
        """Encode a scene, or find it held already."""
        if not self._holds(scene.id):
            self._vision_worker.submit(self._encode, scene).result()
        return scene.id

    def _holds(self, image_id: str) -> bool:
        with self._lock:
            return self._images.recall(image_id) is not None

    def _encode(self, scene: Scene) -> None:
        if self._holds(scene.id):
            return  # it was sent twice, and the first has been encoded meanwhile
        features = SceneFeatures(self._vision, scene, cache=StoredTiles(self._store, scene.id))
        with self._lock:
            self._images.put(scene.id, features)

    def _features(self, image_id: str) -> SceneFeatures:
        with self._lock:
            features = self._images.recall(image_id)
        if features is None:
            raise UnknownImage("The image's features are no longer held; encode the image again.")
        return features

    def generate(
        self, image_id: str | None, prompt: str, *, max_tokens: int, json_schema: dict[str, Any] | None = None
    ) -> Generation:
        """Answer greedily; the states of an answer about an image are kept for `decode`."""
        image_tokens = None if image_id is None else self._features(image_id).tokens.clone()
        return Generation(self._run(prompt, image_tokens, max_tokens, json_schema))

    def _run(
        self, prompt: str, image_tokens: torch.Tensor | None, max_tokens: int, json_schema: dict[str, Any] | None
    ) -> Generator[str, None, GenerationResult]:
        answer = Answer()
        yield from self._language.stream(
            prompt, answer, image_tokens=image_tokens, max_tokens=max_tokens, json_schema=json_schema
        )
        name = ""
        if image_tokens is not None and answer.states:
            name = uuid4().hex
            with self._lock:
                self._states.put(name, answer.hidden_states())
        return GenerationResult(name, len(answer.token_ids), answer.finish_reason, answer.prompt_tokens)

    def decode(
        self, image_id: str, states_ref: str, *, points: Sequence[Point] = (), boxes: Sequence[Box] = ()
    ) -> npt.NDArray[np.float32]:
        """Paint what an answer said, tile by tile."""
        features = self._features(image_id)
        painting = Painting(features, self._said(states_ref), prompt_points(points, boxes))
        for window in features.windows:
            self._vision_worker.submit(paint, [(painting, window)]).result()
        return painting.logits()

    def _said(self, states_ref: str) -> torch.Tensor:
        with self._lock:
            states = self._states.recall(states_ref)
        if states is None:
            raise UnknownStates("What the model said is no longer held; ask again.")
        return states

    def read_states(self, states_ref: str) -> States:
        """The hidden states of an answer that is held."""
        return np.asarray(self._said(states_ref).float().cpu().numpy(), np.float32)

    def restore_states(self, states: States) -> str:
        """Hold states that were read before, from this process or an earlier one."""
        states = check_states(states, self._vision.config.language_hidden_size)
        name = name_states(states)
        with self._lock:
            self._states.put(name, torch.from_numpy(states.copy()))
        return name

    def close(self) -> None:
        """Forget images and states, and remove the files of their tiles."""
        with self._lock:
            self._images.clear()
            self._states.clear()
        self._vision_worker.shutdown()
        self._store.close()
