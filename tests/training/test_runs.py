"""Options come from a stage's file, from a file of one's own and from the command line, and stay beside the run."""

import argparse
import json
from pathlib import Path

import pytest
import yaml

from spex_model.training import pretrain, train_clicks, train_condenser, train_language, train_vision
from spex_model.training.runs import CONFIGS, begin_run, end_run, read_options, write_record

STAGES = {
    "vision": train_vision,
    "clicks": train_clicks,
    "language": train_language,
    "condenser": train_condenser,
    "pretrain": pretrain,
}


def parser():
    made = argparse.ArgumentParser()
    made.add_argument("--imagery", type=Path, required=True)
    made.add_argument("--run", type=Path)
    made.add_argument("--steps", type=int)
    made.add_argument("--lr", type=float)
    made.add_argument("--compile", action=argparse.BooleanOptionalAction)
    for name in ("vision", "export"):
        made.add_argument(f"--{name}", type=Path)
    for name in ("tokens", "threads", "seed"):
        made.add_argument(f"--{name}", type=int)
    made.add_argument("--plan-share", type=float)
    made.add_argument("--spectral-words", action=argparse.BooleanOptionalAction)
    return made


def read(*arguments):
    return read_options(parser(), "language", ["--imagery", "tiles", *map(str, arguments)])


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_a_file_that_holds_all_its_options(stage, capsys):
    """The real parser of each stage refuses what it doesn't know and lists what it does in its help."""
    values = yaml.safe_load((CONFIGS / f"{stage}.yaml").read_text())
    with pytest.raises(SystemExit) as end:
        STAGES[stage].main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    listed = {line.split()[0].rstrip(",") for line in shown.splitlines() if line.startswith("  --")}
    assert listed == {f"--{key.replace('_', '-')}" for key in values} | {"--config"}
    needed = [] if stage == "pretrain" else ["--imagery=x"]
    with pytest.raises(SystemExit) as end:
        STAGES[stage].main([*needed, "--threads=many"])
    assert end.value.code == 2 and "argument --threads: invalid int value: 'many'" in capsys.readouterr().err


def test_a_file_goes_before_the_shipped_one_and_the_command_line_before_both(tmp_path):
    shipped = read()
    assert (shipped.steps, shipped.lr, shipped.compile, shipped.imagery) == (7200, 8e-4, True, Path("tiles"))
    mine = tmp_path / "mine.yaml"
    mine.write_text("steps: 5\nlr: 1e-2\ncompile: false\nrun:\n")
    options = read("--config", mine, "--lr", 0.5)
    assert (options.steps, options.lr, options.compile, options.run) == (5, 0.5, False, shipped.run)
    assert options.tokens == shipped.tokens and read("--config", mine, "--compile").compile


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stepz: 5", "mine.yaml holds unknown options: stepz. Known: compile, export, imagery"),
        ("steps: many", "argument --steps: invalid int value: 'many'"),
        ("steps: 2.5", "argument --steps: invalid int value: '2.5'"),
        ("- steps", "mine.yaml cannot be read as options: it must hold one `option: value` a line."),
        ("steps: [", "mine.yaml cannot be read as options"),
        (None, "mine.yaml cannot be read as options"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(tmp_path, capsys, text, said):
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SystemExit) as end:
        read("--config", tmp_path / "mine.yaml")
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_a_run_keeps_its_options_and_can_be_made_again_from_them(tmp_path):
    first = read("--run", tmp_path, "--steps", 7)
    begin_run(tmp_path, first)
    again = read_options(parser(), "language", ["--config", str(tmp_path / "options.yaml")])
    same = {key: value for key, value in vars(first).items() if key != "config"}
    assert {key: value for key, value in vars(again).items() if key != "config"} == same
    begin_run(tmp_path, first, 5)
    assert not list(tmp_path.glob("options_until_*"))
    begin_run(tmp_path, read("--run", tmp_path, "--steps", 9), 5)
    assert yaml.safe_load((tmp_path / "options.yaml").read_text())["steps"] == 9
    assert yaml.safe_load((tmp_path / "options_until_5.yaml").read_text())["steps"] == 7


def test_a_log_holds_no_step_that_is_done_anew(tmp_path):
    options = read("--run", tmp_path)
    begin_run(tmp_path, options)
    end_run(tmp_path)
    assert not (tmp_path / "curves.svg").exists()
    for step in (-10, 10, 20, 30):
        write_record(tmp_path, {"step": step, "loss": 1 / step})
    steps = lambda: [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]  # noqa: E731
    begin_run(tmp_path, options, 20)
    assert steps() == [-10, 10, 20]
    end_run(tmp_path)
    assert (tmp_path / "curves.svg").read_text().startswith("<svg")
    begin_run(tmp_path, options)
    assert steps() == []
