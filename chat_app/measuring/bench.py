"""Measure whole conversations: `python -m chat_app bench --users 1,8 --turns 40 --json`.

Simulated users talk to the real graph in rounds of `bench_users.MESSAGES`, with pauses to think, and then ask for
descriptions one after the other without pauses. Compared are vLLM with the mask service, the embedded runtime, and
transformers' own `generate` on the same prompts, each in a process of its own, one after the other.

What the figures count: `tokens_per_s` is the generated tokens (end token left out) of the descriptions that all users
ask for at once, over the time in which at least one of them was being written, reading the prompt included.
`session_generating_tokens_per_s` is the same for all answers within conversations, plans too, and
`session_tokens_per_s` those over the whole time, pauses and masks included. `time_to_first_token_s` runs from a
request for a description to its first text, `time_to_first_text_s` and `time_to_mask_s` from sending a message to the
first text and to the layer; all are medians, with `_p95_s` and `_p99_s` beside them. `memory_mb` is the highest
proportional resident memory of the processes that answer, servers included.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from chat_app.graph import Conversation
from chat_app.measuring.bench_report import Figures, Report, check, figures_of, percentiles, plot, rate, table
from chat_app.measuring.bench_users import Log, MeasuredRuntime, describe, description_prompts, talk, write_images
from chat_app.memory.store import SessionStore
from chat_app.settings import Settings
from spex_model.imaging.reading import open_scene
from spex_model.serving import load_runtime, share_cores
from spex_model.serving.errors import StartupError
from spex_model.serving.processes import tree_memory_mb
from spex_model.serving.programs import ServeSettings
from spex_model.serving.supervisor import Supervisor

log = logging.getLogger(__name__)

EXAMPLE = Path(__file__).parents[2] / "assets" / "examples" / "synthetic_sentinel2.tif"
RUNTIMES = ("served", "embedded", "transformers")
ROUNDS = 3
"""How often each user asks for the same descriptions; all rounds but the first are follow-ups."""


@dataclass(frozen=True)
class Plan:
    """What one process measures: a runtime with a number of users, on these images."""

    settings: Settings
    images: tuple[Path, ...]
    turns: int
    think_s: float
    server_pids: tuple[int, ...] = ()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m chat_app bench`."""
    parser.add_argument("--users", default="1,8", help="numbers of users at once for the served runtime")
    parser.add_argument("--turns", type=int, default=40, help="turns of each user")
    parser.add_argument(
        "--think", type=float, default=3.0, help="mean pause before a message, in seconds; people take longer"
    )
    parser.add_argument("--runtimes", default=",".join(RUNTIMES), help="which to measure")
    parser.add_argument("--image", type=Path, default=EXAMPLE)
    parser.add_argument("--plot", type=Path, help="write an SVG of the figures here")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def bench(options: argparse.Namespace) -> int:
    """Measure and report; exit code 1 when there were errors."""
    settings = Settings()
    users = sorted({int(number) for number in options.users.split(",")})
    wanted = [name.strip() for name in options.runtimes.split(",")]
    notes: list[str] = []
    report: Report = {}
    with tempfile.TemporaryDirectory(prefix="spex-bench-") as scratch:
        images = tuple(write_images(options.image, Path(scratch), max(users)))
        for name in (name for name in RUNTIMES if name in wanted):
            plan = Plan(settings, images, options.turns, options.think)
            if name == "served":
                try:
                    report[name] = _measure_served(plan, users)
                except StartupError as error:
                    notes.append(f"served: not measured. {error}")
                    print(notes[-1], file=sys.stderr)
            else:
                report[name] = {"1": _in_a_process(measure_embedded if name == "embedded" else measure_plain, plan)}
                _say(name, 1, report[name]["1"])
    return _finish(options, report, notes)


def _finish(options: argparse.Namespace, report: Report, notes: Sequence[str]) -> int:
    checks = check(report)
    if options.plot:
        options.plot.write_text(plot(report), encoding="utf-8")
    print(table(report))
    for one in checks:
        print(f"{'ok    ' if one['holds'] else 'MISSED'} {one['what']}: {one['value']:g} (bound {one['bound']:g})")
    if options.json:
        print(json.dumps({**report, "checks": checks, "notes": list(notes)}))
    return 1 if any(figures["errors"] for by_users in report.values() for figures in by_users.values()) else 0


def _say(name: str, users: int, figures: Figures) -> None:
    print(f"{name}, {users} users: {figures['tokens_per_s']:g} tokens/s, {figures['errors']} errors", file=sys.stderr)


def _in_a_process(measure: Callable[[Plan], Figures], plan: Plan) -> Figures:
    """Measure in a fresh process, so that no runtime inherits another one's memory or threads."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, plan).result()


@contextmanager
def _servers(settings: Settings) -> Iterator[tuple[Settings, tuple[int, ...]]]:
    """Settings with the addresses of running servers, and the ids of those that were started for this."""
    if settings.vllm_url and settings.mask_url:
        yield settings, ()
        return
    wanted = ServeSettings(
        ui=False, vllm_port=0, mask_port=0, checkpoint=settings.checkpoint, cache_dir=settings.cache_dir
    )
    with Supervisor(wanted) as stack:
        addresses = {"vllm_url": stack.vllm_url, "mask_url": stack.mask_url}
        yield settings.model_copy(update=addresses), tuple(child.pid for child in stack.children)


def _measure_served(plan: Plan, users: Sequence[int]) -> dict[str, Figures]:
    """Each number of users on servers of its own, so that none finds images or prompts of another."""
    found = {}
    for count in users:
        with _servers(plan.settings) as (settings, pids):
            served = Plan(settings, plan.images[:count], plan.turns, plan.think_s, pids)
            found[str(count)] = _in_a_process(measure_served, served)
        _say("served", count, found[str(count)])
    return found


def measure_served(plan: Plan) -> Figures:
    """The figures of the servers that the settings name, with what they counted themselves."""
    before = _Counters.read(plan.settings)
    figures, between = _measure(plan, "served")
    after = _Counters.read(plan.settings)
    figures["encoder_calls_per_image"] = (after.encoded - before.encoded) / len(plan.images)
    figures["prefix_hit_rate"] = after.hit_rate_since(before)
    figures["prefix_hit_rate_follow_up"] = after.hit_rate_since(between) if between else None
    return figures


def measure_embedded(plan: Plan) -> Figures:
    """The figures of the runtime in this process, one user."""
    return _measure(Plan(plan.settings, plan.images[:1], plan.turns, plan.think_s), "embedded")[0]


def measure_plain(plan: Plan) -> Figures:
    """The figures of transformers' `generate` on the prompts of the descriptions, one user, no conversation."""
    share_cores()
    from spex_model.serving.plain_generate import PlainGenerate

    settings, scene = plan.settings, open_scene(plan.images[0])
    with _watched_memory(()) as memory:
        model = PlainGenerate.load(settings.checkpoint, cache_dir=settings.cache_dir)
        prompts = description_prompts(scene, settings)
        model.answer(scene, prompts[:1], 8)
        answers = model.answer(scene, prompts * ROUNDS, settings.max_answer_tokens)
    tokens = sum(answer.tokens for answer in answers)
    return {
        "tokens_per_s": rate(tokens, sum(answer.last_token_s for answer in answers)),
        **percentiles("time_to_first_token", (answer.first_token_s for answer in answers)),
        **percentiles("time_to_mask", (answer.mask_s for answer in answers)),
        "tokens": tokens,
        "errors": 0,
        "memory_mb": memory[0],
    }


def _measure(plan: Plan, kind: Any) -> tuple[Figures, _Counters | None]:
    """Conversations first, then descriptions; the counters as they stood when only follow-ups were left."""
    settings = plan.settings
    streams, sessions = Log(), Log()
    with _watched_memory(plan.server_pids) as memory, tempfile.TemporaryDirectory(prefix="spex-bench-data-") as data:
        runtime = load_runtime(
            kind, checkpoint=settings.checkpoint, cache_dir=settings.cache_dir, vllm_url=settings.vllm_url,
            mask_url=settings.mask_url, request_timeout_s=settings.request_timeout_s,
        )  # fmt: skip
        chat = settings.model_copy(update={"data_dir": Path(data)})
        conversation = Conversation(chat, MeasuredRuntime(runtime, sessions), SessionStore(chat))
        conversation.warm_up()
        sessions.calls.clear()
        talk(conversation, plan.images, plan.turns, plan.think_s, sessions)
        scenes = [open_scene(path) for path in plan.images]
        measured = MeasuredRuntime(runtime, streams)
        describe(measured, scenes, 1, settings, streams)
        between = _Counters.read(settings) if kind == "served" else None
        describe(measured, scenes, ROUNDS - 1, settings, streams)
        conversation.close()
    return {**figures_of(streams, sessions), "memory_mb": memory[0]}, between


@contextmanager
def _watched_memory(pids: Sequence[int]) -> Iterator[list[float]]:
    """A list whose one value is the highest memory of this process and of the trees of others, in MB."""
    highest, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            highest[0] = max(highest[0], round(tree_memory_mb([multiprocessing.current_process().pid or 0, *pids])))
            done.wait(1.0)

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield highest
    finally:
        done.set()
        thread.join()


@dataclass(frozen=True)
class _Counters:
    """What the servers counted so far: scenes encoded, and tokens looked up and found in vLLM's prefix cache."""

    encoded: float
    queries: float
    hits: float

    @classmethod
    def read(cls, settings: Settings) -> _Counters:
        texts = [
            httpx.get(f"{url}/metrics", timeout=10, trust_env=False).text
            for url in (settings.mask_url, settings.vllm_url)
        ]
        return cls(
            _sum(texts[0], 'spex_mask_work_seconds_count{work="encode"}'),
            _sum(texts[1], "vllm:prefix_cache_queries_total"),
            _sum(texts[1], "vllm:prefix_cache_hits_total"),
        )

    def hit_rate_since(self, before: _Counters) -> float | None:
        """The share of prompt tokens, those of images included, that the prefix cache held."""
        asked = self.queries - before.queries
        return round((self.hits - before.hits) / asked, 3) if asked else None


def _sum(metrics: str, name: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(name))
