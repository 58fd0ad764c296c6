"""What every runtime offers, and the values that cross its border.

Light on purpose: numpy and pydantic only, never torch. Coordinates are scene pixels, row before column.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from spex_model.serving.errors import BadRequest, ServingError, TooBusy, TooLarge, UnknownImage, UnknownStates

if TYPE_CHECKING:
    from spex_model.imaging.scene import Scene

IMAGE_TOKEN = "<image>"
MAX_PROMPT_CHARS = 32_000
MAX_MODEL_LEN = 2048
"""Longest prompt and answer together, in tokens, in both runtimes."""
MODEL_NAME = "spex"
"""The name under which vLLM serves the language model."""
NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
"""Image ids and states references: opaque, and never a path."""
SCENE_HEADER, SHAPE_HEADER = "x-spex-scene", "x-spex-shape"
"""HTTP headers: a `SceneHeader` as JSON beside the pixels of a scene; "H,W" beside the logits of a mask."""
IMAGE_HEADER = "x-session-id"
"""HTTP header: the image that a request to the mask service is about, by which a router picks the service that holds
it. The name is the one that routers know for requests that belong together."""
_CONTROL_TOKENS = re.compile(r"<image>|<\|[^|<>]{0,40}\|>|<(?:start|end)_of_turn>", re.IGNORECASE)


class Point(NamedTuple):
    """A click in scene pixels; `positive` says that the land cover is there, else that it is not."""

    row: float
    col: float
    positive: bool = True


class Box(NamedTuple):
    """A half-open box in scene pixels."""

    row0: float
    col0: float
    row1: float
    col1: float


@dataclass(frozen=True)
class Health:
    """Whether a runtime can answer now, and a sentence that says why or what it runs on."""

    ready: bool
    detail: str


@dataclass(frozen=True)
class GenerationResult:
    """What is known once the last token is out.

    `tokens` counts generated tokens without the end token; `states_ref` names their hidden states and is
    empty when the request had no image; `finish_reason` is "stop" or "length".
    """

    states_ref: str
    tokens: int
    finish_reason: str
    prompt_tokens: int


class Generation:
    """One streamed answer: iterate it for text deltas, then read its outcome.

    >>> answer = runtime.generate(image_id, "Describe the water.", max_tokens=120)
    >>> for delta in answer:
    ...     show(delta)
    >>> logits = runtime.decode(image_id, answer.states_ref)

    `text` grows while it is iterated. The other attributes are final after exhaustion; reading them
    earlier raises `RuntimeError`. `close()` stops the generation and frees what it holds.
    """

    def __init__(self, deltas: Generator[str, None, GenerationResult]) -> None:
        self._deltas = deltas
        self._result: GenerationResult | None = None
        self._started = time.monotonic()
        self._seconds = 0.0
        self.text = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            delta = next(self._deltas)
        except StopIteration as stop:
            if self._result is None and stop.value is not None:
                self._result = stop.value
                self._seconds = time.monotonic() - self._started
            raise StopIteration from None
        self.text += delta
        return delta

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> str:
        """Run to the end and return the whole text."""
        for _ in self:
            pass
        return self.text

    def close(self) -> None:
        """Stop generating; safe at any time, more than once."""
        self._deltas.close()

    @property
    def finished(self) -> bool:
        """Whether the last token came; False while it runs, after an error and after an early `close()`."""
        return self._result is not None

    @property
    def result(self) -> GenerationResult:
        """The outcome. Raises `RuntimeError` before the text is exhausted."""
        if self._result is None:
            raise RuntimeError("The generation isn't finished; iterate it to its end first.")
        return self._result

    @property
    def states_ref(self) -> str:
        """The name under which the hidden states of the generated tokens are kept."""
        return self.result.states_ref

    @property
    def tokens(self) -> int:
        """Generated tokens without the end token."""
        return self.result.tokens

    @property
    def finish_reason(self) -> str:
        """ "stop" (the model ended its answer) or "length" (cut at `max_tokens`)."""
        return self.result.finish_reason

    @property
    def seconds(self) -> float:
        """Wall time from the request to the last token."""
        return self._seconds if self._result is not None else time.monotonic() - self._started


class Runtime(Protocol):
    """The model behind the chat: the same text and the same mask whichever runtime answers."""

    name: str

    def describe_health(self) -> Health:
        """Say whether requests can be answered now. Never raises."""
        ...

    def encode(self, scene: Scene) -> str:
        """Compute the image features of `scene` and return the image id; cheap when already held."""
        ...

    def generate(
        self, image_id: str | None, prompt: str, *, max_tokens: int, json_schema: dict[str, Any] | None = None
    ) -> Generation:
        """Answer `prompt` greedily; with an image id, the image tokens stand in front of the prompt.

        `json_schema` holds the answer to a JSON schema. Raises `UnknownImage`, `BadRequest`,
        `RuntimeUnavailable` or `DeadlineExceeded`, here or while the result is iterated.
        """
        ...

    def decode(
        self, image_id: str, states_ref: str, *, points: Sequence[Point] = (), boxes: Sequence[Box] = ()
    ) -> npt.NDArray[np.float32]:
        """Paint what an answer said: (H, W) float32 logits on the scene grid, positive inside the mask.

        Raises `UnknownImage` or `UnknownStates` when features or states are no longer held.
        """
        ...

    def close(self) -> None:
        """Free memory and connections."""
        ...


def clean_prompt(text: str) -> str:
    """Return the prompt without control tokens, which would be read as the real ones.

    `<image>`, `<|...|>` and the turn marks are removed, nested spellings included. Raises `BadRequest` for an
    empty prompt and for one beyond `MAX_PROMPT_CHARS`.
    """
    if len(text) > MAX_PROMPT_CHARS:
        raise BadRequest(
            f"The prompt has {len(text):,} characters; at most {MAX_PROMPT_CHARS:,} are taken. Shorten it."
        )
    text = text.replace("\x00", "")
    while (cleaned := _CONTROL_TOKENS.sub("", text)) != text:
        text = cleaned
    if not text.strip():
        raise BadRequest("The prompt is empty. Write what you want to know.")
    return text


class WireModel(BaseModel):
    """Base of the JSON bodies between client and mask service: unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SceneHeader(WireModel):
    """What travels beside the pixels of a scene; the arrays follow in the body as npz."""

    image_id: str = Field(pattern=NAME_PATTERN)
    bands: tuple[str, ...] = Field(min_length=1, max_length=64)
    gsd_m: float | None = Field(default=None, gt=0)
    calibrated: bool = True


class EncodedImage(WireModel):
    """The image tokens of an encoded scene, as vLLM takes them: base64 of a saved (N, hidden) tensor."""

    image_id: str
    tokens_base64: str
    num_tokens: int
    encode_seconds: float = 0.0


class KeepStates(WireModel):
    """Tells the mask service to take over the states that vLLM wrote for one answer.

    States [prompt_tokens : prompt_tokens + generated] of the file are those at each generated token.
    """

    states_ref: str = Field(pattern=NAME_PATTERN)
    prompt_tokens: int = Field(ge=1, le=1_000_000)
    generated: int = Field(ge=1, le=1_000_000)


class DecodeRequest(WireModel):
    """Which image to paint with which answer; clicks and boxes in scene pixels."""

    image_id: str = Field(pattern=NAME_PATTERN)
    states_ref: str = Field(pattern=NAME_PATTERN)
    points: tuple[Point, ...] = Field(default=(), max_length=256)
    boxes: tuple[Box, ...] = Field(default=(), max_length=16)


class ServiceHealth(WireModel):
    """Answer of the mask service's `/health`."""

    ready: bool
    detail: str
    images: int = 0


class ServiceProblem(WireModel):
    """Body of every refusal: a machine-readable kind, see `PROBLEMS`, and a sentence."""

    kind: str
    detail: str


PROBLEMS: dict[str, type[ServingError]] = {
    "too_busy": TooBusy,
    "too_large": TooLarge,
    "unknown_image": UnknownImage,
    "unknown_states": UnknownStates,
    "bad_request": BadRequest,
}
"""The kinds of refusal and the errors that they are on either side of the wire."""
