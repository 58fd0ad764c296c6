"""The picture, its geometry and its legend."""

import base64
import io
import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from chat_app.memory.arrays import ArrayStore
from chat_app.memory.marks import Marks
from chat_app.memory.session import Session
from chat_app.page import render
from chat_app.plan import COLOURS
from spex_model.imaging.scene import Scene


def make_scene(height, width, gsd_m=10.0):
    rng = np.random.default_rng(5)
    reflectance = rng.uniform(0.02, 0.4, (4, height, width)).astype(np.float32)
    return Scene(reflectance, np.ones((height, width), bool), ("blue", "green", "red", "nir"), gsd_m=gsd_m)


def make_session(tmp_path, scene):
    return Session("0" * 32, scene, ArrayStore(tmp_path, memory_bytes=2**24), title="field.tif")


def add_layer(session, mask, land_cover="water"):
    with session.change(land_cover):
        extraction = session.make_extraction(mask, land_cover=land_cover, method="index", threshold=0.0)
        return session.add_layer(extraction)


def decode(url):
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_every_colour_of_the_conversation_has_a_value():
    assert set(render.palette()) == set(COLOURS)
    assert all(re.fullmatch(r"#[0-9a-f]{6}", value) for value in render.palette().values())


@pytest.mark.parametrize(
    ("shape", "thin", "display"),
    [((384, 512), 1, (384, 512)), ((1025, 700), 2, (513, 350)), ((3000, 10), 3, (1000, 4))],
)
def test_a_frame_thins_to_what_a_display_holds(shape, thin, display):
    frame = render.Frame.of(make_scene(*shape))
    assert (frame.thin, frame.display_shape) == (thin, display)
    assert render.rgb_composite(make_scene(*shape), "natural", max_side=render.DISPLAY_SIDE).shape[:2] == display


@given(
    st.integers(1, 900), st.integers(1, 900), st.integers(1, 64), st.floats(0, 1), st.floats(0, 1)
)  # shapes and display sides of every proportion
def test_a_click_lands_on_the_pixel_under_it(height, width, side, x, y):
    frame = render.Frame((height, width), max(1, -(-max(height, width) // side)))
    row, column = frame.scene_pixel(x, y)
    assert 0 <= row < height and 0 <= column < width
    assert abs(row - y * frame.covered[0]) <= frame.thin
    assert abs(column - x * frame.covered[1]) <= frame.thin


def test_a_click_beside_the_picture_is_none():
    frame = render.Frame((10, 20), 1)
    assert frame.scene_pixel(-0.01, 0.5) is None and frame.scene_pixel(0.5, 1.01) is None
    assert frame.scene_pixel(0.0, 0.0) == (0, 0) and frame.scene_pixel(1.0, 1.0) == (9, 19)
    assert frame.scene_pixel(0.525, 0.35) == (3, 10)


def test_a_single_pixel_survives_thinning():
    mask = np.zeros((2000, 2000), bool)
    mask[1999, 1] = True
    thin = render.Frame((2000, 2000), 2).thin_mask(mask)
    assert thin.shape == (1000, 1000) and np.argwhere(thin).tolist() == [[999, 0]]


def test_the_overlay_shows_the_last_mask_on_top_and_nothing_elsewhere():
    first, second = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    first[:, :4] = True
    second[1:3, 2:6] = True
    image = np.asarray(decode(render.overlay_url([first, second], ["#ff0000", "#0000ff"])).convert("RGBA"))
    assert image[0, 0].tolist() == [255, 0, 0, 255]
    assert image[1, 3].tolist() == [0, 0, 255, 255]
    assert image[0, 5, 3] == 0
    assert render.overlay_url([], []) == ""


def test_an_outline_runs_along_pixel_edges():
    mask = np.zeros((3, 4), bool)
    mask[1, 1:3] = True
    pieces = re.findall(r"M\d+ \d+[hv]\d+", render.outline_path(mask))
    assert sorted(pieces) == ["M1 1h2", "M1 1v1", "M1 2h2", "M3 1v1"]
    assert "M2 2h4" in render.outline_path(mask, scale=2)


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_an_outline_is_as_long_as_the_edges_of_the_mask(mask):
    padded = np.pad(mask, 1).astype(int)
    edges = np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()
    assert sum(int(n) for n in re.findall(r"[hv](\d+)", render.outline_path(mask))) == edges


def test_an_outline_of_noise_is_left_out():
    noise = np.random.default_rng(1).random((600, 600)) > 0.5
    assert render.outline_path(noise) == ""


def test_the_picture_draws_visible_layers_with_the_active_one_on_top(tmp_path):
    session = make_session(tmp_path, make_scene(32, 32))
    mask = np.zeros((32, 32), bool)
    mask[4:20, 4:20] = True
    water = add_layer(session, mask)
    add_layer(session, ~mask, "vegetation")
    picture = render.draw_picture(session, Marks(points=((3, 5),)))
    assert [outline.colour for outline in picture.outlines] == [render.palette()["blue"], render.palette()["green"]]
    assert picture.points == ((3, 5),) and picture.covered == (32, 32) and picture.gsd_m == 10.0
    session.activate(water)
    assert render.draw_picture(session).outlines[-1].colour == render.palette()["blue"]
    with session.change("hide"):
        session.update_layer(water, visible=False)
    assert len(render.draw_picture(session).outlines) == 1
    assert "vegetation" in render.draw_picture(session).description


def test_the_composite_falls_back_to_what_the_bands_allow():
    scene = make_scene(16, 16)
    assert render.choose_composite(scene, "false colour") == "false colour"
    assert render.choose_composite(scene, "short-wave") == "natural"
    assert render.choose_composite(scene, None) == "natural"


def test_the_legend_states_what_was_measured(tmp_path):
    session = make_session(tmp_path, make_scene(100, 100))
    mask = np.zeros((100, 100), bool)
    mask[:10, :10] = mask[50:60, 50:60] = True
    add_layer(session, mask)
    add_layer(session, np.zeros((100, 100), bool), "trees")
    trees, water = render.legend_entries(session)
    assert (water.size, water.share, water.regions) == ("2.0 ha", "2.0 %", "2 regions")
    assert (trees.size, trees.share, trees.active, water.active) == ("nothing found", "", True, False)


def test_a_picture_is_fast(tmp_path):
    session = make_session(tmp_path, make_scene(512, 512))
    yy, xx = np.mgrid[:512, :512]
    add_layer(session, np.sin(yy / 17) + np.cos(xx / 23) > 0.4)
    render.composite_url(session.scene, "natural")
    seconds = []
    for _ in range(3):
        started = time.thread_time()  # of this thread alone, since others may use the machine
        render.draw_picture(session)
        seconds.append(time.thread_time() - started)
    assert min(seconds) < 0.1
    assert render.composite_url(session.scene, "natural") is render.composite_url(session.scene, "natural")
