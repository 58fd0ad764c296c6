"""Figures of the benchmark: percentiles, requirements, a table and a plot."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chat_app.measuring.bench_users import Call, Log

Figures = dict[str, Any]
"""Figures of one number of users: rates a second, times in seconds, memory in MB."""
Report = dict[str, dict[str, Figures]]
"""Figures by runtime and number of users."""


def percentiles(name: str, values: Iterable[float]) -> Figures:
    """The median under `name`, and the 95th and 99th percentile beside it; None where nothing was measured."""
    found = list(values)
    if not found:
        return {f"{name}_s": None, f"{name}_p95_s": None, f"{name}_p99_s": None}
    middle, high, highest = np.percentile(found, (50, 95, 99))
    return {
        f"{name}_s": round(float(middle), 3),
        f"{name}_p95_s": round(float(high), 3),
        f"{name}_p99_s": round(float(highest), 3),
    }


def busy_seconds(calls: Sequence[Call]) -> float:
    """Time during which at least one answer was being written."""
    total, until = 0.0, 0.0
    for call in sorted(calls, key=lambda call: call.started):
        total += max(0.0, call.ended - max(call.started, until))
        until = max(until, call.ended)
    return total


def rate(tokens: int, seconds: float) -> float:
    """Tokens a second."""
    return round(tokens / seconds, 1) if seconds > 0 else 0.0


def figures_of(streams: Log, sessions: Log) -> Figures:
    """What is reported of a runtime with one number of users.

    `streams` is of descriptions asked one after the other by all users at once, `sessions` of whole conversations.
    """
    described = [call for call in sessions.calls if call.about_image]
    in_streams, in_sessions = (sum(call.tokens for call in log.calls) for log in (streams, sessions))
    return {
        "tokens_per_s": rate(in_streams, busy_seconds(streams.calls)),
        "session_generating_tokens_per_s": rate(in_sessions, busy_seconds(sessions.calls)),
        "session_tokens_per_s": rate(in_sessions, sessions.seconds),
        **percentiles(
            "time_to_first_token", (call.first_token - call.started for call in described if call.first_token)
        ),
        **percentiles("time_to_first_text", sessions.first_text_s),
        **percentiles("time_to_mask", sessions.mask_s),
        **percentiles("mask_after_last_token", (call.painted - call.ended for call in described if call.painted)),
        **percentiles("turn", sessions.turn_s),
        "turns": len(sessions.turn_s),
        "tokens": in_streams + in_sessions,
        "errors": len(streams.errors) + len(sessions.errors),
        "error_texts": sorted(set(streams.errors + sessions.errors))[:5],
    }


def check(report: Report) -> list[dict[str, Any]]:
    """The requirements that the measured figures let one check: what, the value found, the bound, whether it holds."""
    checks: list[dict[str, Any]] = []

    def hold(what: str, value: float | None, bound: float, at_least: bool) -> None:
        if value is not None:
            holds = value >= bound if at_least else value <= bound
            checks.append({"what": what, "value": round(value, 3), "bound": bound, "holds": holds})

    served, one = report.get("served", {}), report.get("embedded", {}).get("1", {})
    single, eight = served.get("1", {}), served.get("8", {})
    rate_ = one.get("tokens_per_s")
    if plain := report.get("transformers", {}).get("1"):
        hold("embedded tokens/s over those of plain transformers", _over(rate_, plain["tokens_per_s"]), 0.9, True)
    hold("served tokens/s of one user over embedded ones", _over(single.get("tokens_per_s"), rate_), 2.0, True)
    hold("served tokens/s of 8 users over embedded ones of one", _over(eight.get("tokens_per_s"), rate_), 10.0, True)
    first = "time_to_first_token_p95_s"
    hold(
        "95th percentile of the time to first token, 8 users over one",
        _over(eight.get(first), single.get(first)),
        3.0,
        False,
    )
    for users, figures in served.items():
        hold(
            f"mask after the last token, median, served, {users} users, s",
            figures["mask_after_last_token_s"],
            0.3,
            False,
        )
        hold(f"encoder calls an image, {users} users", figures.get("encoder_calls_per_image"), 1.0, False)
        hold(f"prefix-cache hits of follow-ups, {users} users", figures.get("prefix_hit_rate_follow_up"), 0.7, True)
    for runtime, by_users in report.items():
        for users, figures in by_users.items():
            hold(f"errors in {figures.get('turns', 0)} turns, {runtime}, {users} users", figures["errors"], 0, False)
    return checks


def _over(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


COLUMNS = {
    "tokens_per_s": "tokens/s",
    "session_tokens_per_s": "tokens/s, whole session",
    "time_to_first_token_s": "first token, s",
    "time_to_first_token_p95_s": "95 %",
    "time_to_mask_s": "mask, s",
    "time_to_mask_p95_s": "95 %",
    "mask_after_last_token_s": "mask after last token, s",
    "errors": "errors",
    "memory_mb": "memory, MB",
}


def table(report: Report) -> str:
    """The report as a Markdown table."""
    lines = ["| runtime, users | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, figures in _rows(report):
        cells = ("-" if figures.get(key) is None else f"{figures[key]:g}" for key in COLUMNS)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rows(report: Report) -> list[tuple[str, Figures]]:
    return [(f"{runtime}, {users}", figures) for runtime, by in report.items() for users, figures in by.items()]


def plot(report: Report) -> str:
    """The report as an SVG of bars: tokens a second, and the time to the first token and to the mask with its 95th percentile."""
    panels = (("tokens a second", "tokens_per_s", None), ("time to first token, s", "time_to_first_token_s", "time_to_first_token_p95_s"),
              ("time to mask, s", "time_to_mask_s", "time_to_mask_p95_s"))  # fmt: skip
    rows = _rows(report)
    height = 40 + 26 * len(rows)
    parts = []
    for number, (title, key, tail) in enumerate(panels):
        parts.append(f'<g transform="translate({number * 330 + 10},0)">{_panel(title, rows, key, tail)}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{330 * len(panels)}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _panel(title: str, rows: Sequence[tuple[str, Mapping[str, Any]]], key: str, tail: str | None) -> str:
    largest = max((figures.get(tail or key) or 0.0 for _, figures in rows), default=0.0) or 1.0
    parts = [f'<text x="0" y="20" font-weight="bold">{html.escape(title)}</text>']
    for number, (name, figures) in enumerate(rows):
        y, value = 32 + 26 * number, figures.get(key)
        parts.append(f'<text x="0" y="{y + 14}">{html.escape(name)}</text>')
        if value is None:
            continue
        length = 150 * value / largest
        parts.append(f'<rect x="110" y="{y}" width="{length:.1f}" height="18" fill="#2b7bba"/>')
        end = length
        if tail and figures.get(tail) is not None:
            end = 150 * figures[tail] / largest
            parts.append(
                f'<line x1="{110 + length:.1f}" x2="{110 + end:.1f}" y1="{y + 9}" y2="{y + 9}" stroke="#333"/>'
            )
        parts.append(f'<text x="{114 + max(end, length):.1f}" y="{y + 14}">{value:g}</text>')
    return "".join(parts)
