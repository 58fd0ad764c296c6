"""Refinement steps on real sessions: units, thresholds, and the laws that every step keeps."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from chat_app.acting.refine import apply_step, refine
from chat_app.answering.facts import distance_facts
from chat_app.errors import PixelSizeNeeded, StepError
from chat_app.memory.arrays import ArrayStore
from chat_app.memory.session import Session
from chat_app.plan import Plan
from spex_model.imaging.scene import Scene

STEPS = [
    {"op": "keep_largest", "count": 2}, {"op": "keep_smallest", "count": 1}, {"op": "keep_rank", "rank": 2}, {"op": "drop_largest", "count": 1},
    {"op": "drop_smaller", "value": 3, "unit": "px"}, {"op": "drop_larger", "value": 5, "unit": "percent"}, {"op": "drop_smaller", "value": 0.05, "unit": "ha"},
    {"op": "keep_place", "place": "north-east", "part": "third"}, {"op": "drop_place", "place": "left", "cut": True}, {"op": "grow", "value": 15, "unit": "m"},
    {"op": "shrink", "value": 1, "unit": "px"}, {"op": "merge_close", "value": 3, "unit": "px"}, {"op": "smooth"}, {"op": "fill_holes"}, {"op": "invert"},
    {"op": "keep_shape", "shape": "round"}, {"op": "index_above", "index": "NDVI", "value": 0.1}, {"op": "index_below", "index": "NDVI", "value": 0.1},
    {"op": "union", "layer": "trees"}, {"op": "intersect", "layer": "trees"}, {"op": "subtract", "layer": "trees"},
    {"op": "near", "layer": "trees", "value": 2, "unit": "px"}, {"op": "far", "layer": "trees", "value": 20, "unit": "m"},
    {"op": "keep_clicked", "points": [[3, 3]]}, {"op": "drop_clicked", "points": [[3, 3]]},
    {"op": "add_here", "points": [[3, 3]]}, {"op": "remove_here", "points": [[3, 3], [90, 1]]}, {"op": "keep_inside", "polygon": [[1, 1], [1, 9], [9, 5]]},
    {"op": "drop_inside", "polygon": [[1, 1], [1, 9], [9, 5]]}, {"op": "add_inside", "polygon": [[1, 1], [1, 9], [9, 5]]}, {"op": "stricter"}, {"op": "looser"},
]  # fmt: skip


def make_session(tmp_path, mask, other, valid, gsd_m=10.0, **grid):
    values = np.random.default_rng(0).uniform(0.02, 0.5, (4, *mask.shape)).astype(np.float32)
    values[:, ~valid] = np.nan
    scene = Scene(values, valid, ("blue", "green", "red", "nir"), gsd_m=gsd_m, **grid)
    session = Session("s", scene, ArrayStore(tmp_path, memory_bytes=2**24), title="t")
    with session.change("extract"):
        for name, pixels in (("trees", other), ("water", mask)):
            logits = np.where(pixels, 2.0, -2.0)
            session.add_layer(
                session.make_extraction(pixels, logits=logits, land_cover=name, method="model", threshold=0.5)
            )
    return session


def step_of(values):
    return Plan(intent="refine", steps=(values,)).steps[0]


masks = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).random((3, 12, 14)) < [[[0.3]], [[0.3]], [[0.85]]]
)


@pytest.mark.parametrize("values", STEPS, ids=lambda values: values["op"])
@given(arrays=masks)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_step_keeps_to_valid_and_undo_restores_the_exact_mask(values, arrays, tmp_path):
    mask, other, valid = arrays
    valid[0, 0] = True
    session = make_session(tmp_path, mask, other, valid)
    before = session.extraction("water").mask.copy()
    with session.change("step"):
        session.replace_extraction(
            session.find_layer("water"), refine(session.extraction("water"), (step_of(values),), session)
        )
    assert not (session.extraction("water").mask & ~valid).any()
    if session.snapshot.label == "step":
        session.undo()
    assert np.array_equal(session.extraction("water").mask, before)


@pytest.mark.parametrize("values", STEPS, ids=lambda values: values["op"])
def test_no_step_raises_on_an_empty_mask(values, tmp_path):
    nothing = np.zeros((12, 14), bool)
    session = make_session(tmp_path, nothing, nothing, ~nothing)
    refine(session.extraction("water"), (step_of(values),), session)


@given(arrays=masks)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_layers_combine_as_sets_do(arrays, tmp_path):
    mask, other, _ = arrays
    session = make_session(tmp_path, mask, other, np.ones(mask.shape, bool))

    def combine(op, of=mask):
        return apply_step(of, step_of({"op": op, "layer": "trees"}), session)

    assert np.array_equal(combine("union"), mask | other)
    assert np.array_equal(combine("intersect") | combine("subtract"), mask)
    assert not (combine("intersect") & combine("subtract")).any()
    assert np.array_equal(~combine("union"), ~mask & ~other)
    assert np.array_equal(combine("union", combine("union")), combine("union"))


def test_sizes_in_metres_need_a_pixel_size(tmp_path):
    ones = np.ones((4, 4), bool)
    session = make_session(tmp_path, ones, ones, ones, gsd_m=None)
    with pytest.raises(PixelSizeNeeded, match="pixels are 30 m"):
        apply_step(ones, step_of({"op": "drop_smaller", "value": 1, "unit": "ha"}), session)


def test_a_hectare_is_a_hundred_pixels_of_ten_metres(tmp_path):
    mask = np.zeros((30, 30), bool)
    mask[:10, :10] = True
    mask[20:29, 20:30] = True
    session = make_session(tmp_path, mask, mask, np.ones_like(mask))
    kept = apply_step(mask, step_of({"op": "drop_smaller", "value": 1, "unit": "ha"}), session)
    assert kept[:10, :10].all() and kept.sum() == 100


def test_stricter_then_looser_comes_back_and_keeps_earlier_steps(tmp_path):
    mask = np.zeros((20, 20), bool)
    mask[2:8, 2:8] = mask[12:15, 12:15] = True
    session = make_session(tmp_path, mask, mask, np.ones_like(mask))
    steps = tuple(
        step_of(values) for values in ({"op": "keep_largest", "count": 1}, {"op": "stricter"}, {"op": "looser"})
    )
    refined = refine(session.extraction("water"), steps, session)
    assert refined.threshold == pytest.approx(0.5) and refined.mask.sum() == 36


@pytest.mark.parametrize("op", ["looser", "add_here"])
def test_logits_across_nodata_join_no_regions_for_earlier_steps(op, tmp_path):
    wet, valid = np.zeros((20, 24), bool), np.ones((20, 24), bool)
    wet[2:8, 2:22] = wet[12:18, 14:22] = True
    valid[:, 10:14] = False
    wet[2:8, 2] = False  # 42 pixels in the north-west, and 48 each in the north-east and the south-east
    session = make_session(tmp_path, wet & valid, wet & valid, valid)
    logits = np.where(wet, 2.0, -2.0)
    layer = session.make_extraction(wet, logits=logits, land_cover="water", method="model", threshold=0.5)
    kept = refine(layer, (step_of({"op": "keep_rank", "rank": 1}),), session)
    step = step_of({"op": op, "points": [[4, 15]]} if op == "add_here" else {"op": op})
    again = refine(kept, (step,), session, lambda extraction, clicks: logits)
    assert kept.mask.sum() == 48 and np.array_equal(again.mask, kept.mask)


def test_decoder_follows_no_click_on_nodata(tmp_path):
    valid = np.ones((6, 6), bool)
    valid[0, 0] = False
    session = make_session(tmp_path, ~valid & valid, ~valid & valid, valid)
    everywhere = np.full(valid.shape, 2.0)
    step = step_of({"op": "add_here", "points": [[0, 0]]})
    assert not refine(session.extraction("water"), (step,), session, lambda extraction, clicks: everywhere).mask.any()


def two_dots(one, other):
    mask = np.zeros((2, 40, 40), bool)
    mask[0][one] = mask[1][other] = True
    return mask


GRIDS = {
    "10 m": {},
    "UTM": {"crs": CRS.from_epsg(32632), "transform": Affine(10, 0, 600_000, 0, -10, 5_400_000)},
    "degrees at 60 north": {"crs": CRS.from_epsg(4326), "transform": Affine(0.001, 0, 10, 0, -0.001, 60.02)},
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("place", [(5, 6), (6, 6), (5, 7), (7, 5), (8, 5), (9, 12), (4, 5), (5, 5), (30, 31)])
def test_near_far_and_the_measured_distance_agree(grid, place, tmp_path):
    mask, other = two_dots((5, 5), place)
    session = make_session(tmp_path, mask, other, np.ones_like(mask), **GRIDS[grid])
    facts = distance_facts(session, session.find_layer("water"), session.find_layer("trees"))
    touch = max(abs(place[0] - 5), abs(place[1] - 5)) <= 1
    assert (facts["distance_m"] == 0) == (facts["distance_px"] == 0) == touch
    for apart, unit in ((facts["distance_m"], "m"), (facts["distance_px"], "px")):
        for value, within in ((apart + 0.1, True), (0.9 * apart, touch)):
            if value > 0:
                step = {"layer": "trees", "value": value, "unit": unit}
                assert apply_step(mask, step_of({"op": "near", **step}), session).any() == within
                assert apply_step(mask, step_of({"op": "far", **step}), session).any() != within


def test_degrees_have_a_height_and_a_width(tmp_path):
    grid = GRIDS["degrees at 60 north"]
    for place, metres in (((16, 5), 1114), ((5, 16), 558)):
        mask, other = two_dots((5, 5), place)
        session = make_session(tmp_path, mask, other, np.ones_like(mask), **grid)
        facts = distance_facts(session, session.find_layer("water"), session.find_layer("trees"))
        assert facts["distance_px"] == 10 and facts["distance_m"] == pytest.approx(metres, abs=2)
    grown = apply_step(mask, step_of({"op": "grow", "value": 112, "unit": "m"}), session)
    assert grown[:, 5].sum() == 3 and grown[5].sum() == 5


@pytest.mark.parametrize("grid", ["10 m", "UTM"])
def test_whole_pixels_in_metres_are_whole(grid, tmp_path):
    pair = np.logical_or(*two_dots((5, 5), (5, 8)))
    session = make_session(tmp_path, pair, pair, np.ones_like(pair), **GRIDS[grid])

    def applied(op, value):
        return apply_step(pair, step_of({"op": op, "value": value, "unit": "m"}), session)

    assert applied("grow", 10).sum() == 10 and not applied("shrink", 10).any()
    assert applied("merge_close", 20).sum() == 2 and applied("merge_close", 21).sum() == 4


def test_an_index_mask_has_no_probabilities_to_be_stricter_with(tmp_path):
    ones = np.ones((4, 4), bool)
    session = make_session(tmp_path, ones, ones, ones)
    plain = session.make_extraction(ones, land_cover="water", method="index", threshold=0.0)
    with pytest.raises(StepError, match="index"):
        refine(plain, (step_of({"op": "stricter"}),), session)
