"""Errors of the conversation.

ChatError
├── MessageError          the message can't be taken as it stands (empty, too long)
├── PlanError             a plan doesn't hold to its schema
├── StepError             a step can't be done on this layer or image; the message says what is needed
│   └── PixelSizeNeeded   the step needs metres and the image has no pixel size
├── LayerNotFound         no layer goes by that name
├── SessionNotFound       no session goes by that id
├── PromptError           a prompt file is missing or a field of it wasn't given
└── DatabaseUnavailable   the database that the settings name can't be used

Every message is a sentence that a user may read. The cause travels in `__cause__` for the log.
"""

from __future__ import annotations

PIXEL_SIZE_HINT = 'tell me the pixel size, for example "pixels are 30 m"'


class ChatError(Exception):
    """Root of all errors that the conversation raises."""


class MessageError(ChatError):
    """The message is empty or too long."""


class PlanError(ChatError):
    """A plan is not valid JSON or doesn't hold to the schema."""


class StepError(ChatError):
    """A step can't be done here."""


class PixelSizeNeeded(StepError):
    """A step or an answer needs metres, and the image has no pixel size."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} needs the size of a pixel, and this image carries none. Please {PIXEL_SIZE_HINT}, or use pixels."
        )


class LayerNotFound(ChatError):
    """The session has no such layer."""


class SessionNotFound(ChatError):
    """The store has no such session."""


class DatabaseUnavailable(ChatError):
    """The conversations' database can't be reached, or its packages are not installed."""


class PromptError(ChatError):
    """A prompt file is missing, or a placeholder of it was not filled."""
