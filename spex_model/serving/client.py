"""The served runtime: text from vLLM, masks from the mask service, over HTTP.

Never imports torch. Hidden states don't pass through here: vLLM writes them to a folder that it shares with the
mask service, under a name that this client chooses.
"""

from __future__ import annotations

import io
import math
import re
import threading
import time
import weakref
import zipfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from spex_model.imaging.bands import SLOTS
from spex_model.serving.connection import Connection, bounded
from spex_model.serving.errors import BadRequest, DeadlineExceeded, UnknownImage, UnknownStates
from spex_model.serving.protocol import (
    IMAGE_HEADER,
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
from spex_model.serving.recent import Recent
from spex_model.serving.states import States, name_states, pack_states, unpack_states
from spex_model.serving.text_stream import Told, read_events

if TYPE_CHECKING:
    from spex_model.imaging.scene import Scene

MAX_IMAGES, MAX_ANSWERS, MAX_RESTORED = 64, 256, 32
FLOAT32_BYTES = 512 << 20
"""Larger scenes travel as float16, which costs the encoder nothing that a mask would show."""
PIXELS_PER_TIMEOUT = 8 << 20
"""A mask of a larger scene is waited for longer, in proportion."""


def pack_scene(scene: Scene) -> tuple[SceneHeader, bytes]:
    """What the encoder needs of a scene: its header, and an npz of `reflectance` and the bits of `valid`.

    Only bands in canonical slots travel, clipped to 0-1 as the encoder does, 0 where there is no value.
    """
    kept = [index for index, band in enumerate(scene.bands) if band in SLOTS] or [0]
    shape = (len(kept), *scene.shape)
    dtype = np.dtype(np.float16 if math.prod(shape) * 4 > FLOAT32_BYTES else np.float32)
    layout = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # Band by band, straight into the npz: a large scene and two copies of it fill a small machine.
        with archive.open("reflectance.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, layout)
            for index in kept:
                values = np.nan_to_num(scene.reflectance[index], nan=0.0)
                file.write(values.clip(0.0, 1.0, out=values).astype(dtype, order="C", copy=False).data)
        with archive.open("valid.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.packbits(scene.valid))
    bands = tuple(scene.bands[index] for index in kept)
    header = SceneHeader(image_id=scene.id, bands=bands, gsd_m=scene.gsd_m, calibrated=scene.calibrated)
    return header, buffer.getvalue()


@dataclass(frozen=True)
class _Held:
    """What is known of an encoded image; the scene itself belongs to the chat."""

    tokens_base64: str
    scene: weakref.ref[Scene] | None = None
    num_pixels: int = 0


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
        self._images: Recent[_Held] = Recent(MAX_IMAGES)
        self._answered: Recent[str] = Recent(MAX_ANSWERS)
        self._restored: Recent[States] = Recent(MAX_RESTORED)

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
            return self._images.recall(image_id)

    def _hold(self, image_id: str, held: _Held) -> None:
        with self._lock:
            self._images.put(image_id, held)

    def _find(self, image_id: str) -> EncodedImage | None:
        try:
            response = self._mask.request("GET", f"/images/{image_id}", attempts=2, headers={IMAGE_HEADER: image_id})
        except UnknownImage:
            return None
        return EncodedImage.model_validate_json(response.content)

    def _upload(self, scene: Scene) -> EncodedImage:
        header, body = pack_scene(scene)
        headers = {
            SCENE_HEADER: header.model_dump_json(),
            IMAGE_HEADER: header.image_id,
            "content-type": "application/octet-stream",
        }
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
        return Generation(self._run(body, image_id or "", states_ref))

    def _run(self, body: dict[str, Any], image_id: str, states_ref: str) -> Generator[str, None, GenerationResult]:
        deadline = time.monotonic() + self._timeout_s
        told = Told()
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
        about = {IMAGE_HEADER: image_id}
        self._mask.request("POST", "/states", json=wanted.model_dump(), attempts=2, headers=about)
        with self._lock:
            self._answered.put(states_ref, image_id)
        return GenerationResult(states_ref, tokens, told.finish_reason, told.prompt_tokens)

    def decode(
        self, image_id: str, states_ref: str, *, points: Sequence[Point] = (), boxes: Sequence[Box] = ()
    ) -> npt.NDArray[np.float32]:
        """Paint what an answer said. What the mask service has forgotten and this client knows is sent again."""
        try:
            wanted = DecodeRequest(
                image_id=image_id, states_ref=states_ref, points=tuple(points), boxes=tuple(boxes)
            ).model_dump_json()
        except ValidationError as error:
            raise BadRequest(f"That can't be decoded: {error.errors()[0]['msg']}.") from error
        held = self._recall(image_id)
        remedies = {UnknownImage: lambda: self._send_again(held), UnknownStates: lambda: self._say_again(wanted)}
        while True:
            try:
                response = self._ask_mask(wanted, image_id, held)
                break
            except (UnknownImage, UnknownStates) as error:
                remedy = remedies.pop(type(error), None)
                if remedy is None or not remedy():
                    raise
        height, width = map(int, response.headers[SHAPE_HEADER].split(","))
        return np.frombuffer(response.content, "<f4").astype(np.float32).reshape(height, width)

    def _ask_mask(self, wanted: str, image_id: str, held: _Held | None) -> httpx.Response:
        patience_s = self._timeout_s * max(1.0, held.num_pixels / PIXELS_PER_TIMEOUT if held else 1.0)
        about = {IMAGE_HEADER: image_id}
        return self._mask.request(
            "POST", "/decode", content=wanted, timeout=bounded(patience_s), headers=about, attempts=2
        )

    def _send_again(self, held: _Held | None) -> bool:
        """Upload a scene anew; False where the chat no longer has it."""
        scene = held.scene() if held and held.scene else None
        return scene is not None and bool(self._upload(scene))

    def _say_again(self, wanted: str) -> bool:
        """Hand over restored states anew, now that it is known which image they are for; False for other states."""
        request = DecodeRequest.model_validate_json(wanted)
        with self._lock:
            states = self._restored.recall(request.states_ref)
        if states is None:
            return False
        self._put_states(request.states_ref, states, {IMAGE_HEADER: request.image_id})
        return True

    def _put_states(self, name: str, states: States, headers: dict[str, str]) -> None:
        self._mask.request("PUT", f"/states/{name}", content=pack_states(states), attempts=2, headers=headers)

    def read_states(self, states_ref: str) -> States:
        """Fetch the hidden states of an answer from the mask service."""
        with self._lock:
            image_id = self._answered.recall(states_ref)
        about = {IMAGE_HEADER: image_id} if image_id else {}
        return unpack_states(self._mask.request("GET", f"/states/{states_ref}", attempts=2, headers=about).content)

    def restore_states(self, states: States) -> str:
        """Hand states that were read before back to the mask service."""
        name = name_states(states)
        with self._lock:
            self._restored.put(name, states)
        self._put_states(name, states, {})
        return name

    def close(self) -> None:
        """Close the connections; the servers keep what they hold."""
        self._vllm.close()
        self._mask.close()
