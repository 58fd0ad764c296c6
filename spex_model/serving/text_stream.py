"""vLLM's streamed answers: server-sent events, and what they tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from spex_model.serving.connection import error_message
from spex_model.serving.errors import BadRequest, RuntimeUnavailable


@dataclass
class Told:
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
