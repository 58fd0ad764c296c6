"""A connection to one of our servers: its failures become our errors, and a server that is down is left in peace."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from pydantic import ValidationError

from spex_model.serving.errors import BadRequest, DeadlineExceeded, RuntimeUnavailable, ServingError
from spex_model.serving.protocol import PROBLEMS, ServiceProblem

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S, HEALTH_TIMEOUT_S = 2.0, 2.0


def bounded(timeout_s: float) -> httpx.Timeout:
    """Wait for an answer up to `timeout_s`, and for a connection no longer than `CONNECT_TIMEOUT_S`."""
    return httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))


class Breaker:
    """Stops asking a server that is down: after two failures it refuses at once, and lets a trial through later."""

    THRESHOLD, FIRST_PAUSE_S, LONGEST_PAUSE_S = 2, 1.0, 15.0

    def __init__(self, server: str) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0

    def check(self) -> None:
        """Raise `RuntimeUnavailable` while the server rests."""
        with self._lock:
            if self._failures >= self.THRESHOLD:
                if time.monotonic() < self._closed_until:
                    raise RuntimeUnavailable(f"{self.server} doesn't answer; it may be starting. Try again soon.")
                # One request tries; the others wait for what it finds.
                self._closed_until = time.monotonic() + self._pause_s()

    def _pause_s(self) -> float:
        return min(self.FIRST_PAUSE_S * 2 ** (self._failures - self.THRESHOLD), self.LONGEST_PAUSE_S)

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= self.THRESHOLD:
                self._closed_until = time.monotonic() + self._pause_s()


class Connection:
    """One HTTP server: its errors become ours, and its breaker hears of them."""

    def __init__(self, name: str, url: str, timeout_s: float, transport: httpx.BaseTransport | None) -> None:
        self.name = name
        self.breaker = Breaker(name)
        # trust_env: a proxy of the environment must not get between programs of one machine.
        self._http = httpx.Client(
            base_url=url,
            timeout=bounded(timeout_s),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
            transport=transport,
            trust_env=False,
        )

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """A response that isn't read yet, its status already checked."""
        self.breaker.check()
        try:
            with self._http.stream(method, path, **options) as response:
                if response.is_error:
                    response.read()
                    raise self._refusal(response)
                yield response
        except httpx.ConnectTimeout as error:
            self.breaker.failed()
            raise RuntimeUnavailable(f"{self.name} doesn't answer; it may be starting.") from error
        except httpx.TimeoutException as error:
            self.breaker.failed()
            raise DeadlineExceeded(f"{self.name} gave no answer in the time allowed.") from error
        except httpx.HTTPError as error:
            self.breaker.failed()
            raise RuntimeUnavailable(f"{self.name} doesn't answer: {error or type(error).__name__}.") from error
        self.breaker.succeeded()

    def request(self, method: str, path: str, *, attempts: int = 1, **options: Any) -> httpx.Response:
        """A whole response; with more `attempts`, one that may be asked for again."""
        for attempt in range(attempts):
            try:
                with self.stream(method, path, **options) as response:
                    response.read()
                    return response
            except RuntimeUnavailable:
                if attempt == attempts - 1:
                    raise
                time.sleep(0.1)
        raise AssertionError("attempts must be at least 1")

    def _refusal(self, response: httpx.Response) -> ServingError:
        log.info("%s answered %d: %.500s", self.name, response.status_code, response.text)
        if response.status_code >= 500:
            self.breaker.failed()
            return RuntimeUnavailable(f"{self.name} failed (status {response.status_code}); its log says why.")
        # Whoever refuses is up; the request that mends a refusal must get through at once.
        self.breaker.succeeded()
        try:
            found = ServiceProblem.model_validate_json(response.content)
            return PROBLEMS.get(found.kind, BadRequest)(found.detail)
        except ValidationError:
            return BadRequest(f"{self.name} refused the request: {error_message(response.content)}")

    def healthy(self) -> bool:
        """Whether it answers its health check; a server that does is asked again at once."""
        try:
            response = self._http.get("/health", timeout=HEALTH_TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError):
            return False
        if response.is_success:
            self.breaker.succeeded()
        return response.is_success

    def close(self) -> None:
        self._http.close()


def error_message(body: bytes | str) -> str:
    """The reason in an OpenAI error body, shortened; or that there is none."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, TypeError, KeyError):
        return "no reason given."
    return str(message)[:300]
