"""What the mask service does, without HTTP: scenes in, states in, logits out."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from spex_model.imaging.scene import Scene
from spex_model.imaging.tiles import Window
from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import Painting, SceneFeatures, paint
from spex_model.serving import protocol, states_folder
from spex_model.serving.embedded import MAX_STATES, prompt_points
from spex_model.serving.errors import BadRequest, UnknownImage, UnknownStates
from spex_model.serving.feature_store import FeatureStore, StoredTiles
from spex_model.serving.recent import Recent
from spex_model.serving.states import name_states, pack_states, unpack_states

MAX_IMAGES = 4096
"""Images whose tokens are held, a few kilobytes each; their tiles and pixels have budgets of their own."""
FORGOTTEN = "The image's features are no longer held; encode the image again."


class _Tiles(StoredTiles):
    """The tiles of one scene in the store, and its pixels."""

    def __init__(self, store: FeatureStore, image_id: str, scene: Scene) -> None:
        super().__init__(store, image_id)
        self._bands, self._gsd_m, self._calibrated = scene.bands, scene.gsd_m, scene.calibrated

    def put_pixels(self, scene: Scene) -> None:
        """Keep the pixels too, for tiles that are encoded later."""
        pixels = (torch.from_numpy(array.copy()) for array in (scene.reflectance, scene.valid))
        self._store.put(self._image_id, tuple(pixels))

    def recall(self) -> Scene:
        """The scene as it was put. Raises `UnknownImage` where its pixels had to go."""
        held = self._store.get(self._image_id)
        if held is None:
            raise UnknownImage(FORGOTTEN)
        reflectance, valid = (tensor.numpy() for tensor in held)
        return Scene(reflectance, valid, self._bands, gsd_m=self._gsd_m, calibrated=self._calibrated)


class DecodeJob:
    """One request on its way: its painting and the windows that are still to be painted."""

    def __init__(self, painting: Painting) -> None:
        self.painting = painting
        self.left: list[Window] = list(painting.features.windows)


class MaskEngine:
    """Encoded images and answers' states, and the model that makes masks of them.

    `store` keeps features and pixels; without one, 1 GB of memory does. Any thread may call, but only one at a time
    `encode`, and one `paint`: each uses all cores.
    """

    def __init__(
        self, vision: SpexVision, states_dir: Path, store: FeatureStore | None = None, *, max_body_mb: int = 2048
    ) -> None:
        self.max_body_bytes = max_body_mb << 20
        self.store = store or FeatureStore(None, memory_bytes=1 << 30)
        self._vision = vision
        self._states_dir = states_dir
        self._lock = threading.Lock()
        self._images: Recent[SceneFeatures] = Recent(MAX_IMAGES)
        self._states: Recent[torch.Tensor] = Recent(MAX_STATES)

    def count(self) -> tuple[int, int]:
        """Images and answers that are held."""
        with self._lock:
            return len(self._images), len(self._states)

    def _image(self, image_id: str) -> SceneFeatures:
        with self._lock:
            image = self._images.recall(image_id)
        if image is None:
            raise UnknownImage(FORGOTTEN)
        return image

    def find(self, image_id: str) -> protocol.EncodedImage:
        """The tokens of an image that is held. Raises `UnknownImage`."""
        return _describe(image_id, self._image(image_id))

    def encode(self, image_id: str, scene: Scene) -> protocol.EncodedImage:
        """Encode a scene and hold its features. A scene that is known brings its pixels back, if those had to go."""
        started = time.monotonic()
        tiles = _Tiles(self.store, image_id, scene)
        with suppress(UnknownImage):
            known = self._image(image_id)
            if len(known.windows) > 1 or tiles.get(known.windows[0]) is None:
                tiles.put_pixels(scene)
            return _describe(image_id, known)
        features = SceneFeatures(self._vision, scene, cache=tiles, recall=tiles.recall)
        if not bool(torch.isfinite(features.tokens).all()):
            raise BadRequest("Encoding the image gave values that aren't finite; the model can't see it.")
        if len(features.windows) > 1:
            tiles.put_pixels(scene)
        with self._lock:
            self._images.put(image_id, features)
        return _describe(image_id, features, time.monotonic() - started)

    def keep_states(self, request: protocol.KeepStates) -> None:
        """Take over the states of one answer; its file is removed. Asking again changes nothing."""
        with self._lock:
            if self._states.recall(request.states_ref) is not None:
                return
        said = states_folder.take_states(self._states_dir, request, self._vision.config.language_hidden_size)
        with self._lock:
            self._states.put(request.states_ref, said)

    def read_states(self, states_ref: str) -> bytes:
        """The states of an answer that is held, packed as `states.pack_states` does."""
        return pack_states(self._said(states_ref).cpu().numpy())

    def restore_states(self, states_ref: str, body: bytes) -> None:
        """Hold packed states under the name that their content gives them."""
        states = unpack_states(body, self._vision.config.language_hidden_size)
        if name_states(states) != states_ref:
            raise BadRequest("The hidden states are not those that their name stands for; send them again.")
        with self._lock:
            self._states.put(states_ref, torch.from_numpy(states.copy()))

    def _said(self, states_ref: str) -> torch.Tensor:
        with self._lock:
            states = self._states.recall(states_ref)
        if states is None:
            raise UnknownStates("What the model said is no longer held; ask again.")
        return states

    def start(self, request: protocol.DecodeRequest) -> DecodeJob:
        """Begin to decode. Raises `UnknownImage` or `UnknownStates`."""
        image, said = self._image(request.image_id), self._said(request.states_ref)
        return DecodeJob(Painting(image, said, prompt_points(request.points, request.boxes)))

    def paint(self, strokes: Sequence[tuple[DecodeJob, Window]]) -> list[int]:
        """Decode tiles of any jobs together; the sizes of the passes. Each window must be one of its job's `left`.

        Raises `UnknownImage` where a tile must be encoded anew and the pixels had to go.
        """
        sizes = paint([(job.painting, window) for job, window in strokes])
        for job, window in strokes:
            job.left.remove(window)
        return sizes

    def sweep(self, max_age_s: float) -> int:
        """Remove states files that nobody fetched; how many went."""
        return states_folder.sweep(self._states_dir, max_age_s)

    def close(self) -> None:
        """Let go of all features, and of the files that they were spilled to."""
        self.store.close()


def _describe(image_id: str, features: SceneFeatures, seconds: float = 0.0) -> protocol.EncodedImage:
    tokens = features.tokens.detach().float().cpu().clone()
    buffer = io.BytesIO()
    torch.save(tokens, buffer)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return protocol.EncodedImage(image_id=image_id, tokens_base64=text, num_tokens=len(tokens), encode_seconds=seconds)
