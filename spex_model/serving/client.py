"""The served runtime: text from vLLM, masks from the mask service, over HTTP.

Never imports torch. Hidden states don't pass through here: vLLM writes them to a folder that it shares with the
mask service, under a name that this client chooses.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from spex_model.imaging.bands import SLOTS
from spex_model.serving.connection import Connection, error_message
from spex_model.serving.errors import BadRequest, DeadlineExceeded, RuntimeUnavailable, UnknownImage
from spex_model.serving.protocol import (
    MODEL_NAME,
    NAME_PATTERN,
    SCENE_HEADER,
    SHAPE_HEADER,
    Box,
    DecodeRequest,
    EncodedImage,
    Generation,
    GenerationResult,
    Health,
    KeepStates,
    Point,
    SceneHeader,
    clean_prompt,
)
from spex_model.serving.states import States, name_states, pack_states, unpack_states

if TYPE_CHECKING:
    from spex_model.imaging.scene import Scene

MAX_IMAGES = 64
FLOAT32_BYTES = 512 << 20
"""Larger scenes travel as float16, which costs the encoder nothing that a mask would show."""
PIXELS_PER_TIMEOUT = 8 << 20
"""A mask of a larger scene is waited for longer, in proportion."""


def pack_scene(scene: Scene) -> tuple[SceneHeader, bytes]:
    """What the encoder needs of a scene: its header, and an npz of `reflectance` and the bits of `valid`.

    Only bands in canonical slots travel, clipped to 0-1 as the encoder does, 0 where there is no value.
    """
    kept = [index for index, band in enumerate(scene.bands) if band in SLOTS] or [0]
    values = np.nan_to_num(scene.reflectance[kept], nan=0.0).clip(0.0, 1.0)
    if values.nbytes > FLOAT32_BYTES:
        values = values.astype(np.float16)
    buffer = io.BytesIO()
    np.savez(buffer, reflectance=values, valid=np.packbits(scene.valid))
    bands = tuple(scene.bands[index] for index in kept)
    header = SceneHeader(image_id=scene.id, bands=bands, gsd_m=scene.gsd_m, calibrated=scene.calibrated)
    return header, buffer.getvalue()


@dataclass(frozen=True)
class _Held:
    """What is known of an encoded image; the scene itself belongs to the chat."""

    tokens_base64: str
    scene: weakref.ref[Scene] | None = None
    num_pixels: int = 0


@dataclass
class _Told:
    """What a stream has told so far."""

    prompt_tokens: int = 0
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str = ""

    def take(self, event: dict[str, Any]) -> str:
        """Take in one event and return its text. Raises what an error event says."""
        if error := event.get("error"):
            reason = error_message(json.dumps(event))
            if isinstance(error, dict) and str(error.get("code", "")).startswith("4"):
                raise BadRequest(f"The language model refused the request: {reason}")
            raise RuntimeUnavailable(f"The language model failed while it answered: {reason}")
        if ids := event.get("prompt_token_ids"):
            self.prompt_tokens = len(ids)
        text = ""
        for choice in event.get("choices", ()):
            text += choice.get("delta", {}).get("content") or ""
            self.token_ids += choice.get("token_ids") or []
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        return text

    @property
    def ended(self) -> bool:
        """Whether the answer ended with the end token, which is the last of `token_ids` then."""
        return self.finish_reason == "stop"


def read_events(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON events of a server-sent stream, up to `[DONE]`.

    Lines end at a line feed only: text may hold other characters that Python takes for line ends. Raises
    `RuntimeUnavailable` when the stream breaks off or holds something else.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            data = line.removeprefix(b"data:").strip()
            if not line.startswith(b"data:"):
                continue
            if data == b"[DONE]":
                return
            try:
                yield json.loads(data)
            except ValueError as error:
                raise RuntimeUnavailable("The language model's answer is garbled; ask again.") from error
    raise RuntimeUnavailable("The language model broke off in the middle of its answer; ask again.")


class ServedRuntime:
    """`Runtime` over vLLM's chat API and the mask service.

    Any number of threads may ask. `timeout_s` bounds each call; a stream is bounded as a whole, and each silence
    in it. `transport` replaces the network in tests.
    """

    name = "served"

    def __init__(
        self, vllm_url: str, mask_url: str, *, timeout_s: float = 120.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._vllm = Connection("The language model (vLLM)", vllm_url, timeout_s, transport)
        self._mask = Connection("The mask service", mask_url, timeout_s, transport)
        self._lock = threading.Lock()
        self._images: OrderedDict[str, _Held] = OrderedDict()

    def describe_health(self) -> Health:
        """Ask both servers. Never raises."""
        silent = [server.name for server in (self._vllm, self._mask) if not server.healthy()]
        if silent:
            return Health(False, f"{' and '.join(silent)} can't be reached; starting takes up to a minute.")
        return Health(True, "The model is served by vLLM and the mask service.")

    def encode(self, scene: Scene) -> str:
        """Encode a scene, unless this client or the mask service holds it already."""
        held = self._recall(scene.id)
        known = held or self._find(scene.id) or self._upload(scene)
        self._hold(scene.id, _Held(known.tokens_base64, weakref.ref(scene), scene.valid.size))
        return scene.id

    def _recall(self, image_id: str) -> _Held | None:
        with self._lock:
            return self._images.get(image_id)

    def _hold(self, image_id: str, held: _Held) -> None:
        with self._lock:
            self._images[image_id] = held
            self._images.move_to_end(image_id)
            while len(self._images) > MAX_IMAGES:
                self._images.popitem(last=False)

    def _find(self, image_id: str) -> EncodedImage | None:
        try:
            response = self._mask.request("GET", f"/images/{image_id}", attempts=2)
        except UnknownImage:
            return None
        return EncodedImage.model_validate_json(response.content)

    def _upload(self, scene: Scene) -> EncodedImage:
        header, body = pack_scene(scene)
        headers = {SCENE_HEADER: header.model_dump_json(), "content-type": "application/octet-stream"}
        response = self._mask.request("POST", "/images", content=body, headers=headers, attempts=2)
        return EncodedImage.model_validate_json(response.content)

    def _tokens(self, image_id: str) -> str:
        if held := self._recall(image_id):
            return held.tokens_base64
        # Encoded before this process started, perhaps.
        encoded = self._find(image_id) if re.fullmatch(NAME_PATTERN, image_id) else None
        if encoded is None:
            raise UnknownImage("The image's features are no longer held; encode the image again.")
        self._hold(image_id, _Held(encoded.tokens_base64))
        return encoded.tokens_base64

    def generate(
        self, image_id: str | None, prompt: str, *, max_tokens: int, json_schema: dict[str, Any] | None = None
    ) -> Generation:
        """Answer greedily; the states of an answer about an image are kept for `decode`."""
        text = {"type": "text", "text": clean_prompt(prompt)}
        body: dict[str, Any] = {
            "model": MODEL_NAME,
            "messages": [{"role": "user", "content": [text]}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "return_token_ids": True,
        }
        states_ref = ""
        if image_id is not None:
            states_ref = uuid4().hex
            image = {"type": "image_embeds", "image_embeds": self._tokens(image_id)}
            body["messages"][0]["content"] = [image, text]
            body["kv_transfer_params"] = {"hs_name": states_ref, "include_output_tokens": True}
        if json_schema is not None:
            wanted = {"name": "answer", "schema": json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        return Generation(self._run(body, states_ref))

    def _run(self, body: dict[str, Any], states_ref: str) -> Generator[str, None, GenerationResult]:
        deadline = time.monotonic() + self._timeout_s
        told = _Told()
        # Leaving the block early closes the connection, and vLLM then stops generating.
        with self._vllm.stream("POST", "/v1/chat/completions", json=body) as response:
            for event in read_events(response.iter_bytes()):
                if delta := told.take(event):
                    yield delta
                if time.monotonic() > deadline:
                    raise DeadlineExceeded(f"The answer wasn't complete after {self._timeout_s:g} s.")
        tokens = len(told.token_ids) - told.ended
        # The last token of an answer cut at its length was never fed back, so it has no state.
        num_states = tokens if told.ended else tokens - 1
        if not states_ref or num_states < 1:
            return GenerationResult("", tokens, told.finish_reason, told.prompt_tokens)
        wanted = KeepStates(states_ref=states_ref, prompt_tokens=told.prompt_tokens, generated=num_states)
        self._mask.request("POST", "/states", json=wanted.model_dump(), attempts=2)
        return GenerationResult(states_ref, tokens, told.finish_reason, told.prompt_tokens)

    def decode(
        self, image_id: str, states_ref: str, *, points: Sequence[Point] = (), boxes: Sequence[Box] = ()
    ) -> npt.NDArray[np.float32]:
        """Paint what an answer said; an image that the mask service has forgotten is encoded again."""
        try:
            wanted = DecodeRequest(
                image_id=image_id, states_ref=states_ref, points=tuple(points), boxes=tuple(boxes)
            ).model_dump_json()
        except ValidationError as error:
            raise BadRequest(f"That can't be decoded: {error.errors()[0]['msg']}.") from error
        held = self._recall(image_id)
        try:
            response = self._ask_mask(wanted, held)
        except UnknownImage:
            scene = held.scene() if held and held.scene else None
            if scene is None:
                raise
            self._upload(scene)
            response = self._ask_mask(wanted, held)
        height, width = map(int, response.headers[SHAPE_HEADER].split(","))
        return np.frombuffer(response.content, "<f4").astype(np.float32).reshape(height, width)

    def _ask_mask(self, wanted: str, held: _Held | None) -> httpx.Response:
        patience_s = self._timeout_s * max(1.0, held.num_pixels / PIXELS_PER_TIMEOUT if held else 1.0)
        return self._mask.request("POST", "/decode", content=wanted, timeout=patience_s)

    def read_states(self, states_ref: str) -> States:
        """Fetch the hidden states of an answer from the mask service."""
        return unpack_states(self._mask.request("GET", f"/states/{states_ref}", attempts=2).content)

    def restore_states(self, states: States) -> str:
        """Hand states that were read before back to the mask service."""
        name = name_states(states)
        self._mask.request("PUT", f"/states/{name}", content=pack_states(states), attempts=2)
        return name

    def close(self) -> None:
        """Close the connections; the servers keep what they hold."""
        self._vllm.close()
        self._mask.close()
