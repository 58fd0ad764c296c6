"""Decode requests on their way through the model: gathered, decoded together, dropped when nobody waits any more.

The queue works tile by tile. Each pass takes the next tiles of the requests that wait, one of each request in turn,
so that a request for a large scene shares the model with everyone who asks meanwhile, and one whose client has gone
costs at most the pass that is running.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from anyio import to_thread
from starlette.requests import ClientDisconnect

from spex_model.imaging.tiles import Window
from spex_model.serving.errors import ServingError, TooBusy
from spex_model.serving.mask_engine import DecodeJob, MaskEngine
from spex_model.serving.mask_metrics import MaskMetrics

log = logging.getLogger(__name__)

MAX_WAITING = 256
Logits = npt.NDArray[np.float32]


class Client(Protocol):
    """Whoever waits for an answer; a Starlette `Request` is one."""

    async def is_disconnected(self) -> bool:
        """Whether nobody waits any more."""
        ...


@dataclass(eq=False)
class _Waiting:
    job: DecodeJob
    client: Client
    answer: asyncio.Future[Logits]


class DecodeQueue:
    """Decodes jobs of a `MaskEngine` in passes of up to `max_batch` tiles.

    Requests that come within `window_s` of the first, or while a pass runs, share the next pass.
    """

    def __init__(self, engine: MaskEngine, metrics: MaskMetrics, *, window_s: float, max_batch: int) -> None:
        self._engine = engine
        self._metrics = metrics
        self._window_s = window_s
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        metrics.waiting.set_function(lambda: len(self._waiting))

    async def decode(self, job: DecodeJob, client: Client) -> Logits:
        """(H, W) logits of a job. Raises `TooBusy`, what painting raises, or `ClientDisconnect` when nobody waits."""
        if len(self._waiting) >= MAX_WAITING:
            raise TooBusy(f"{MAX_WAITING} masks are waiting to be decoded already; try again in a moment.")
        waiting = _Waiting(job, client, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await waiting.answer
        finally:
            # Also when the handler itself is cancelled.
            if not waiting.answer.done():
                waiting.answer.cancel()

    async def _work(self) -> None:
        await asyncio.sleep(self._window_s)
        try:
            while self._waiting:
                await self._drop_gone()
                strokes = self._choose()
                if strokes:
                    await self._paint(strokes)
                await self._hand_out()
        except Exception as error:
            # Nobody may wait for a worker that is gone, and the next one must not meet what ended this one.
            log.exception("the decode queue failed")
            for waiting in list(self._waiting):
                self._end(waiting, error)

    async def _drop_gone(self) -> None:
        for waiting in list(self._waiting):
            if waiting.answer.done() or await waiting.client.is_disconnected():
                self._metrics.cancelled.inc()
                self._end(waiting, ClientDisconnect())

    def _choose(self) -> list[tuple[_Waiting, Window]]:
        """The tiles of the next pass: one of each request in turn, until it is full or nothing is left."""
        strokes: list[tuple[_Waiting, Window]] = []
        depth = 0
        while len(strokes) < self._max_batch:
            more = [(one, one.job.left[depth]) for one in self._waiting if depth < len(one.job.left)]
            if not more:
                break
            strokes += more[: self._max_batch - len(strokes)]
            depth += 1
        # Whoever was served goes to the back.
        for served in dict.fromkeys(waiting for waiting, _ in strokes):
            self._waiting.remove(served)
            self._waiting.append(served)
        return strokes

    async def _paint(self, strokes: list[tuple[_Waiting, Window]]) -> None:
        try:
            with self._metrics.seconds.labels("decode").time():
                sizes = await to_thread.run_sync(self._engine.paint, [(one.job, window) for one, window in strokes])
            for size in sizes:
                self._metrics.batch_tiles.observe(size)
        except Exception as error:
            owners = list(dict.fromkeys(waiting for waiting, _ in strokes))
            if len(owners) > 1:
                # One of them can't be decoded; the others must not suffer for it.
                for owner in owners:
                    await self._paint([stroke for stroke in strokes if stroke[0] is owner])
                return
            self._fail(owners[0], error)

    async def _hand_out(self) -> None:
        for waiting in [waiting for waiting in self._waiting if not waiting.job.left]:
            try:
                logits = await to_thread.run_sync(waiting.job.painting.logits)
            except Exception as error:
                self._fail(waiting, error)
                continue
            self._waiting.remove(waiting)
            if not waiting.answer.done():
                waiting.answer.set_result(logits)

    def _fail(self, waiting: _Waiting, error: Exception) -> None:
        if not isinstance(error, ServingError):
            log.error("decoding failed", exc_info=error)
        self._end(waiting, error)

    def _end(self, waiting: _Waiting, error: Exception) -> None:
        self._waiting.remove(waiting)
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
