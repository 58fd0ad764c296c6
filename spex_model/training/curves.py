"""Loss and validation figures of training runs over their steps, as an SVG.

`python -m spex_model.training.curves RUN…` writes RUN/curves.svg from RUN/log.jsonl for each; with `--out FILE` all
runs are drawn into one picture, to be compared.
"""

import argparse
import html
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

LOG_FILE, CURVES_FILE = "log.jsonl", "curves.svg"
Curve = list[tuple[float, float]]
"""Points (step, value), by step; a value that is not a number interrupts the line."""

_NO_FIGURES = ("step", "s", "tokens_per_s")
_COLOURS = ("#2b7bba", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#333333")
_WIDTH, _HEIGHT, _COLUMNS = 250, 166, 4
_LEFT, _TOP, _ACROSS, _DOWN = 44, 30, 190, 90


def read_log(run: Path) -> list[dict[str, float]]:
    """The records of a run by step; of a step that was logged twice, as after a crash, the later one."""
    by_step = {}
    for line in (run / LOG_FILE).read_text().splitlines():
        record = json.loads(line)
        by_step[record["step"]] = record
    return [by_step[step] for step in sorted(by_step)]


def figures_of(run: Path) -> dict[str, Curve]:
    """The curve of every figure that a run logged: the loss first, then by name. One without any number is left out."""
    records = read_log(run)
    names = sorted({name for record in records for name in record} - set(_NO_FIGURES), key=_loss_first)
    curves = {name: [(record["step"], record[name]) for record in records if name in record] for name in names}
    return {name: curve for name, curve in curves.items() if any(math.isfinite(value) for _, value in curve)}


def _loss_first(name: str) -> tuple[bool, str]:
    return name != "loss", name


def draw_curves(runs: Sequence[Path]) -> str:
    """An SVG with a panel a figure and a line a run; runs are told apart by colour, and named where there are several."""
    by_run = {run: figures_of(run) for run in runs}
    names = sorted({name for curves in by_run.values() for name in curves}, key=_loss_first)
    parts = []
    head = 24 if len(runs) > 1 else 0
    for number, run in enumerate(runs if head else ()):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<text x="{10 + 160 * number}" y="16" fill="{colour}">{html.escape(run.name)}</text>')
    for number, name in enumerate(names):
        x, y = _WIDTH * (number % _COLUMNS), head + _HEIGHT * (number // _COLUMNS)
        curves = [by_run[run].get(name, []) for run in runs]
        parts.append(f'<g transform="translate({x},{y})">{_panel(name, curves)}</g>')
    width = max(_WIDTH * min(_COLUMNS, len(names)), 160 * len(runs) if head else 0)
    height = head + _HEIGHT * math.ceil(len(names) / _COLUMNS)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _panel(name: str, curves: Sequence[Curve]) -> str:
    """One figure of all runs on common axes, with the ends of both axes and the last value of each run."""
    steps = [step for curve in curves for step, _ in curve]
    values = [value for curve in curves for _, value in curve if math.isfinite(value)]
    first, last, low, high = min(steps), max(steps), min(values), max(values)

    def place(step: float, value: float) -> str:
        across = (step - first) / ((last - first) or 1)
        up = (value - low) / (high - low) if high > low else 0.5
        return f"{_LEFT + _ACROSS * across:.1f},{_TOP + _DOWN * (1 - up):.1f}"

    parts = [
        f'<text x="{_LEFT}" y="20" font-weight="bold">{html.escape(name)}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_ACROSS}" height="{_DOWN}" fill="none" stroke="#ccc"/>',
        f'<text x="{_LEFT - 4}" y="{_TOP + 9}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{_LEFT - 4}" y="{_TOP + _DOWN}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{_LEFT}" y="{_TOP + _DOWN + 14}">{first:g}</text>',
        f'<text x="{_LEFT + _ACROSS}" y="{_TOP + _DOWN + 14}" text-anchor="end">{last:g}</text>',
    ]
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        for piece in _pieces(curve):
            points = " ".join(place(step, value) for step, value in piece)
            if len(piece) > 1:
                parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            else:
                across, down = points.split(",")
                parts.append(f'<circle cx="{across}" cy="{down}" r="2" fill="{colour}"/>')
        if curve and math.isfinite(curve[-1][1]):
            x, y = _LEFT + 48 * number, _TOP + _DOWN + 28
            parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{curve[-1][1]:.4g}</text>')
    return "".join(parts)


def _pieces(curve: Curve) -> list[Curve]:
    """The stretches of a curve between values that are not numbers."""
    pieces: list[Curve] = [[]]
    for step, value in curve:
        if math.isfinite(value):
            pieces[-1].append((step, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the curves of runs; exit code 1 with one sentence where a run has no log."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.curves", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder with a log.jsonl")
    parser.add_argument("--out", type=Path, help="one picture of all runs, in place of one a run")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if missing := [str(run) for run in options.runs if not (run / LOG_FILE).exists()]:
        log.error("There is no %s in %s; a run writes it while it trains.", LOG_FILE, ", ".join(missing))
        return 1
    pictures = {options.out: options.runs} if options.out else {run / CURVES_FILE: [run] for run in options.runs}
    for path, runs in pictures.items():
        path.write_text(draw_curves(runs), encoding="utf-8")
        log.info("wrote %s", path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
