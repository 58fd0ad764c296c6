"""Curves show every figure of a log, in the order of the steps, and nothing where nothing was measured."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from spex_model.training.curves import draw_curves, figures_of, main

SVG = "{http://www.w3.org/2000/svg}"
NAN = float("nan")


def write_log(run, *records):
    run.mkdir()
    (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return run


@pytest.fixture
def run(tmp_path):
    return write_log(
        tmp_path / "one", {"step": 10, "loss": 2.0, "s": 4.0}, {"step": 20, "loss": 9.0, "s": 8.0},
        {"step": 20, "loss": 1.5, "s": 8.0, "landsat/water": 0.5, "naip/water": NAN},
        {"step": 30, "loss": 1.0, "landsat/water": NAN}, {"step": 40, "loss": 1.25, "landsat/water": 0.75},
    )  # fmt: skip


def lines(svg):
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    ]


def texts(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_figures_come_by_step_and_what_was_never_a_number_not_at_all(run):
    curves = figures_of(run)
    assert list(curves) == ["loss", "landsat/water"]
    assert curves["loss"] == [(10, 2.0), (20, 1.5), (30, 1.0), (40, 1.25)]


def test_a_line_goes_down_where_the_loss_falls_and_is_cut_where_a_figure_lacks(run):
    svg = draw_curves([run])
    [loss] = lines(svg)
    assert [x for x, _ in loss] == sorted(x for x, _ in loss) and len(loss) == 4
    assert loss[0][1] < loss[1][1] < loss[2][1] and loss[2][1] > loss[3][1]  # y runs downwards
    assert len(list(ElementTree.fromstring(svg).iter(f"{SVG}circle"))) == 2
    assert {"loss", "landsat/water", "1.25", "0.75", "10", "40"} <= set(texts(svg)) and "one" not in texts(svg)


def test_runs_are_compared_in_one_picture_or_drawn_each_by_itself(run, tmp_path, caplog):
    other = write_log(tmp_path / "<two>", {"step": 10, "loss": 3.0}, {"step": 20, "loss": 2.5})
    assert main([str(run), str(other), "--out", str(tmp_path / "both.svg")]) == 0
    both = (tmp_path / "both.svg").read_text()
    assert len(lines(both)) == 2 and {"one", "<two>", "2.5"} <= set(texts(both))
    assert main([str(run), str(other)]) == 0 and (run / "curves.svg").exists() and (other / "curves.svg").exists()
    assert main([str(run), str(tmp_path / "three")]) == 1 and "There is no log.jsonl in" in caplog.text
