"""Errors of the serving side.

ServingError
├── BadRequest            the request itself can't be served; sending it again won't help
│   ├── TooLarge          the body is larger than the service takes
│   ├── UnknownImage      the image isn't (or is no longer) encoded; encode it again
│   └── UnknownStates     the hidden states of that answer are gone; generate again
├── RuntimeUnavailable    a server is down, starting or broken; a later try may work
│   └── TooBusy           too many requests wait already
├── DeadlineExceeded      no answer in the time allowed
└── StartupError          the supervisor can't start the servers

Every message is a sentence that a user may read. The cause travels in `__cause__` for the log.
"""


class ServingError(Exception):
    """Root of all errors that a runtime, the mask service or the supervisor raises."""


class BadRequest(ServingError):
    """The request can't be served as it stands."""


class TooLarge(BadRequest):
    """The body is larger than the service takes."""


class UnknownImage(BadRequest):
    """No features are held for this image id."""


class UnknownStates(BadRequest):
    """No hidden states are held under this reference."""


class RuntimeUnavailable(ServingError):
    """The language model or the mask service doesn't answer."""


class TooBusy(RuntimeUnavailable):
    """Too many requests wait already."""


class DeadlineExceeded(ServingError):
    """The answer didn't come in the time allowed."""


class StartupError(ServingError):
    """The supervisor can't start: a port is taken, a program is missing or a server never got ready."""
