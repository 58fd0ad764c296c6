"""The area by calibrated probabilities: laws of the interval, and that it holds nine times in ten where its model does."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_app.answering.uncertainty import Calibration, estimate_area, probabilities, read_calibration, sum_blocks
from chat_app.graph import Conversation
from chat_app.memory.store import SessionStore
from spex_model.imaging.scene import Scene

PLAIN = Calibration(1.0)


def scene_of(shape, gsd_m=10.0):
    return Scene(np.zeros((1, *shape), np.float32), np.ones(shape, bool), ("red",), gsd_m=gsd_m)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_blocks_hold_every_pixel_once(rows, columns, side):
    values = np.random.default_rng(rows * columns).random((rows, columns))
    blocks = sum_blocks(values, side)
    assert blocks.shape == (-(-rows // side), -(-columns // side)) and blocks.sum() == pytest.approx(values.sum())
    assert blocks[0, 0] == pytest.approx(values[:side, :side].sum())


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 5), st.floats(-3, 3), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_the_interval_holds_the_expected_area_and_widens_with_the_blocks(seed, temperature, bias, power):
    logits = np.random.default_rng(seed).normal(0, 4, (40, 33))
    scene = scene_of(logits.shape)
    one, other = (
        estimate_area(logits, scene, Calibration(temperature, bias, side)) for side in (2**power, 2 ** (power + 1))
    )
    assert 0 <= one.least_m2 <= one.expected_m2 <= one.most_m2 <= logits.size * 100
    assert one.expected_m2 == pytest.approx(probabilities(logits, Calibration(temperature, bias)).sum() * 100)
    assert other.most_m2 >= one.most_m2 - 1e-6 and other.least_m2 <= one.least_m2 + 1e-6


def test_what_is_certain_has_no_width_and_what_is_not_valid_counts_nothing():
    logits = np.where(np.arange(20)[:, None] < 5, 50.0, -50.0) * np.ones((20, 20))
    valid = np.ones((20, 20), bool)
    valid[0] = False
    values = np.zeros((1, 20, 20), np.float32)
    estimate = estimate_area(logits, Scene(values, valid, ("red",), gsd_m=10.0), PLAIN)
    assert [estimate.least_m2, estimate.expected_m2, estimate.most_m2] == pytest.approx([8000] * 3)
    assert estimate_area(logits, scene_of((20, 20), None), PLAIN) is None


def test_nine_in_ten_true_areas_lie_within_when_patches_err_as_wholes():
    rng = np.random.default_rng(5)
    logits = np.kron(rng.normal(0, 2, (12, 12)), np.ones((8, 8)))
    estimate = estimate_area(logits, scene_of(logits.shape), Calibration(1.0, 0.0, 8))
    probability = probabilities(logits, PLAIN)[::8, ::8]
    truths = (rng.random((2000, 12, 12)) < probability).sum(axis=(1, 2)) * 64 * 100
    inside = ((truths >= estimate.least_m2) & (truths <= estimate.most_m2)).mean()
    assert 0.87 < inside < 0.93


@pytest.mark.parametrize(
    "text", ["", "[]", '{"calibration": 3}', '{"calibration": {"water": {}}}', '{"calibration": {"water": {"temperature": 0}}}', "{}"]
)  # fmt: skip
def test_a_calibration_that_is_none_is_left_alone(text, tmp_path):
    (tmp_path / "spex.json").write_text(text)
    assert read_calibration("water", tmp_path / "spex.json") is None
    assert read_calibration("water", tmp_path / "nothing.json") is None


def test_the_reply_tells_the_calibrated_range_and_steps_end_it(settings, runtime, scene_file, tmp_path):
    (tmp_path / "spex.json").write_text(json.dumps({"calibration": {"water": {"temperature": 2.0, "bias": -0.1}}}))
    told = settings.model_copy(update={"checkpoint": tmp_path})
    talk = Conversation(told, runtime, SessionStore(told))
    session = talk.store.create(scene_file)
    turn = list(talk.run_turn(session.id, "show me the water"))[-1].turn
    least, most = turn.facts["area_range_m2"]
    assert least < turn.facts["area_expected_m2"] < most and "calibrated" in turn.facts["area_range_from"]
    assert "nine times in ten between" in turn.reply
    trees = list(talk.run_turn(session.id, "show me the trees"))[-1].turn
    assert trees.facts["area_range_from"] == "pixels near the threshold"
    biggest = list(talk.run_turn(session.id, "for the water: only the biggest one"))[-1].turn
    assert "area_range_m2" not in biggest.facts
    talk.close()
