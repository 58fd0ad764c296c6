"""What every training run shares: its options, read from one file, and its folder, which keeps them beside the log.

`configs/STAGE.yaml` holds every option of a stage as the shipped weights were trained with; another file given with
`--config` may hold some of them, and the command line goes before both. A run's own options.yaml is such a file too.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from spex_model.training.curves import CURVES_FILE, LOG_FILE, draw_curves, read_log

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).parent / "configs"
OPTIONS_FILE = "options.yaml"


def read_options(
    parser: argparse.ArgumentParser, stage: str, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """The options of a stage: of its shipped file, then of `--config FILE`, then of the command line.

    A file passes through the parser as arguments do, so that types and choices are checked alike. An empty value
    counts as not given. Ends the program with one sentence where a file cannot be read or holds an unknown option.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    shipped = CONFIGS / f"{stage}.yaml"
    chosen = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for one in (chosen, parser):
        one.add_argument("--config", type=Path, default=shipped, help="options in YAML; default: %(default)s")
    parser.allow_abbrev = False
    config = chosen.parse_known_args(arguments)[0].config
    try:
        known, values = _read(shipped), _read(config)
    except (OSError, yaml.YAMLError, ValueError) as error:
        parser.error(f"{config} cannot be read as options: {error}")
    if surplus := sorted(set(values) - set(known)):
        parser.error(f"{config} holds unknown options: {', '.join(surplus)}. Known: {', '.join(sorted(known))}.")
    given = known | {key: value for key, value in values.items() if value is not None}
    return parser.parse_args([*_as_arguments(given), *arguments])


def _read(path: Path) -> dict[str, Any]:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError("it must hold one `option: value` a line.")
    return {str(key): value for key, value in values.items()}


def _as_arguments(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        option = key.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{option}" if value else f"--no-{option}"
        elif value is not None:
            yield f"--{option}={value}"


def begin_run(run: Path, options: argparse.Namespace, first: int = 0) -> None:
    """Make a run's folder ready for the steps after `first`: options.yaml, and a log without what is done anew.

    Options that led up to a resumed step and differ from the new ones stay as options_until_STEP.yaml.
    """
    run.mkdir(parents=True, exist_ok=True)
    used = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    used.pop("config", None)
    text, path = yaml.safe_dump(used, sort_keys=False, allow_unicode=True), run / OPTIONS_FILE
    until = run / f"options_until_{first}.yaml"
    if first and path.exists() and path.read_text(encoding="utf-8") != text and not until.exists():
        path.rename(until)
    path.write_text(text, encoding="utf-8")
    if (run / LOG_FILE).exists():
        kept = [record for record in read_log(run) if record["step"] <= first] if first else []
        (run / LOG_FILE).write_text("".join(json.dumps(record) + "\n" for record in kept))


def write_record(run: Path, record: Mapping[str, float]) -> None:
    """Log one record, `step` and figures, and append it to the run's log.jsonl."""
    log.info("%s", record)
    with (run / LOG_FILE).open("a") as file:
        file.write(json.dumps(record) + "\n")


def end_run(run: Path) -> None:
    """Draw the curves of a run beside its log, where any step was logged."""
    if (run / LOG_FILE).exists():
        (run / CURVES_FILE).write_text(draw_curves([run]), encoding="utf-8")
