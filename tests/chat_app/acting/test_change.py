"""Two images of one place: gained, lost and kept, on the first image's grid, by the layer's own recipe."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_app.acting.change import find_change
from chat_app.errors import LayerNotFound, StepError
from chat_app.memory.marks import Marks
from chat_app.memory.store import SessionStore
from chat_app.plan import Plan
from spex_model.imaging.errors import AlignmentError
from spex_model.imaging.regions import label_regions
from spex_model.serving.errors import RuntimeUnavailable


@pytest.fixture
def say(conversation, session):
    def run(message, **options):
        *_, done = conversation.run_turn(session.id, message, **options)
        return done.turn

    return run


def later_image(session, scene_file, path, *, cut=0, crs=True):
    """The same scene with its second largest lake dried and a square of land under water; `cut` columns left off."""
    with rasterio.open(scene_file) as dataset:
        values, profile, names, scales = dataset.read(), dataset.profile, dataset.descriptions, dataset.scales
    water = session.extraction("water").mask
    labels, _ = label_regions(water)
    land = np.argwhere(~water & (np.abs(np.indices(water.shape) - 80).max(0) < 60))
    dry, (row, column) = labels == 2, dry_square(water, land)
    flood = np.zeros_like(water)
    flood[row : row + 12, column : column + 12] = True
    values[:, dry] = values[:, land[0][0], land[0][1]][:, None]
    values[:, flood] = np.median(values[:, labels == 1], axis=1)[:, None].astype(values.dtype)
    profile.update(width=profile["width"] - cut, transform=profile["transform"] @ rasterio.Affine.translation(cut, 0))
    if not crs:
        profile.update(crs=None, transform=rasterio.Affine.identity())
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values[:, :, cut:])
        dataset.scales = scales
        for number, name in enumerate(names, start=1):
            dataset.set_band_description(number, name)
    return dry, flood


def dry_square(water, land):
    """The upper left corner of 12 x 12 pixels of land with some land around."""
    for row, column in land:
        if not water[row - 3 : row + 15, column - 3 : column + 15].any():
            return int(row), int(column)
    raise AssertionError("water everywhere")


def test_what_was_gained_and_lost_is_measured_and_shown(say, session, conversation, scene_file, tmp_path):
    say("show me the water")
    before = session.extraction("water").mask.copy()
    dry, flood = later_image(session, scene_file, tmp_path / "later.tif")
    conversation.store.add_other(session, tmp_path / "later.tif")
    turn = say("what changed?")
    change = turn.facts["change"]
    assert turn.error is None and [layer.name for layer in session.layers] == ["water", "water gained", "water lost"]
    gained, lost = (session.extraction(name).mask for name in ("water gained", "water lost"))
    assert (gained & flood).sum() > 0.9 * flood.sum() and (lost & dry).sum() > 0.9 * dry.sum()
    assert not (gained & before).any() and not (lost & ~before).any()
    assert change["before"]["pixels"] == before.sum() == change["kept"]["pixels"] + change["lost"]["pixels"]
    assert change["after"]["pixels"] == change["kept"]["pixels"] + change["gained"]["pixels"]
    assert change["gained"]["area_m2"] == pytest.approx(gained.sum() * 100, rel=3e-3)
    assert change["lost"]["percent_of_before"] == pytest.approx(100 * lost.sum() / before.sum(), abs=0.01)
    assert "Gained: " in turn.reply and "ha" in turn.reply and session.active_layer.name == "water"
    assert "between lakes.tif and later.tif" in turn.reply and "as a whole" not in turn.reply
    assert say("why is the water lost?").error is None and session.find_layer("water").name == "water"
    say("undo")
    assert len(session.layers) == 1


def test_an_earlier_image_turns_gain_and_loss_around(say, session, conversation, scene_file, tmp_path):
    say("show me the water")
    later_image(session, scene_file, tmp_path / "other.tif")
    conversation.store.add_other(session, tmp_path / "other.tif", newer=True)
    one = say("what changed?").facts["change"]
    conversation.store.add_other(session, tmp_path / "other.tif", newer=False)
    other = say("what changed in the water?").facts["change"]
    assert one["gained"]["pixels"] == other["lost"]["pixels"] and one["lost"]["pixels"] == other["gained"]["pixels"]


def test_the_recipe_runs_on_both_with_the_layers_it_speaks_of(say, session, conversation, scene_file, tmp_path):
    say("show me the water")
    later_image(session, scene_file, tmp_path / "later.tif")
    conversation.store.add_other(session, tmp_path / "later.tif")
    say("show me the vegetation")
    say("subtract the water")
    say("drop anything under 0.5 ha")
    say("stricter")
    turn = say("what changed?")
    assert turn.error is None and turn.facts["change"]["layer"] == "vegetation"
    assert turn.facts["change"]["before"]["pixels"] == int(session.extraction("vegetation").mask.sum())


def test_layers_whose_steps_speak_of_each_other_are_refused(say, session, conversation, scene_file, tmp_path):
    say("show me the water")
    later_image(session, scene_file, tmp_path / "later.tif")
    conversation.store.add_other(session, tmp_path / "later.tif")
    say("show me the trees")
    refine = {
        "intent": "refine",
        "target": "water",
        "steps": [{"op": "near", "layer": "trees", "value": 100, "unit": "m"}],
    }
    say("water within 100 m of the trees", plan=Plan.model_validate(refine))
    assert say("what changed in the water?").error is None
    other = {
        "intent": "refine",
        "target": "trees",
        "steps": [{"op": "near", "layer": "water", "value": 100, "unit": "m"}],
    }
    say("trees within 100 m of the water", plan=Plan.model_validate(other))
    for name in ("water", "trees"):
        error = say(f"what changed in the {name}?").error
        assert "water" in error and "trees" in error and "speak of each other" in error
    say("undo")
    assert say("what changed in the water?").error is None


def test_part_overlap_and_missing_georeference_are_told(say, session, conversation, scene_file, tmp_path):
    say("show me the water")
    later_image(session, scene_file, tmp_path / "part.tif", cut=40)
    conversation.store.add_other(session, tmp_path / "part.tif")
    turn = say("what changed?")
    assert "75%" in turn.reply and not session.extraction("water gained").mask[:, :40].any()
    assert turn.facts["change"]["compared_pixels"] == pytest.approx(160 * 120, rel=0.02)
    later_image(session, scene_file, tmp_path / "bare.tif", crs=False)
    conversation.store.add_other(session, tmp_path / "bare.tif")
    assert "pixel on pixel" in say("what changed?").reply
    later_image(session, scene_file, tmp_path / "small.tif", cut=8, crs=False)
    with pytest.raises(AlignmentError):
        conversation.store.add_other(session, tmp_path / "small.tif")
    assert session.other.name == "bare.tif"


def test_the_second_image_survives_a_restart_and_goes_with_the_session(
    say, session, conversation, settings, scene_file, tmp_path
):
    say("show me the water")
    later_image(session, scene_file, tmp_path / "later.tif")
    conversation.store.add_other(session, tmp_path / "later.tif", newer=False)
    conversation.store.add_other(session, tmp_path / "later.tif", newer=False)
    say("only the biggest one")
    folder = settings.data_dir / "sessions" / session.id
    assert len(list(folder.glob("other-*"))) == 1
    again = SessionStore(settings).open(session.id)
    assert again.other.name == "later.tif" and again.other.newer is False
    assert np.array_equal(again.other.scene.reflectance, session.other.scene.reflectance, equal_nan=True)
    conversation.store.delete(session.id)
    assert not folder.exists()


def test_what_cannot_be_compared_is_a_sentence(say, session, conversation, runtime, settings, scene_file, tmp_path):
    assert "no layer yet" in say("what changed?").error
    say("show me the water")
    assert "no second image" in say("what changed?").error
    later_image(session, scene_file, tmp_path / "later.tif")
    conversation.store.add_other(session, tmp_path / "later.tif")
    say("what changed?")
    assert "a change already" in say("what changed in water lost").error or session.find_layer("water lost")
    with pytest.raises(StepError, match="a change already"):
        find_change(session, session.find_layer("water lost"), runtime, settings)
    runtime.down = True
    turn = say("compare it with the other image")
    assert "in another way" in turn.error and len(session.layers) == 3
    with pytest.raises((LayerNotFound, RuntimeUnavailable, StepError)):
        find_change(session, session.find_layer("nothing"), runtime, settings)


def test_images_of_another_season_are_told(say, session, conversation, scene_file, tmp_path):
    say("show me the water")
    with rasterio.open(scene_file) as dataset:
        values, profile, names, scales = dataset.read(), dataset.profile, dataset.descriptions, dataset.scales
    values[names.index("nir")] //= 2
    with rasterio.open(tmp_path / "winter.tif", "w", **profile) as dataset:
        dataset.write(values)
        dataset.scales = scales
        for number, name in enumerate(names, start=1):
            dataset.set_band_description(number, name)
    conversation.store.add_other(session, tmp_path / "winter.tif")
    assert "differ as a whole (median NDVI" in say("what changed?").reply


def test_clicks_mend_the_first_image_only(say, session, conversation, scene_file, tmp_path):
    say("show me the water")
    later_image(session, scene_file, tmp_path / "later.tif")
    conversation.store.add_other(session, tmp_path / "later.tif")
    row, column = dry_square(session.extraction("water").mask, np.argwhere(~session.extraction("water").mask)[3000:])
    say("add this", marks=Marks(points=((row + 6, column + 6),)))
    assert "first image only" in say("what changed?").reply


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_kept_gained_and_lost_part_what_was_and_is(seed):
    from chat_app.acting.change import Change

    before, after = np.random.default_rng(seed).random((2, 9, 11)) < 0.5
    parts = Change(before, after, np.ones_like(before), {}).parts
    assert np.array_equal(parts["kept"] | parts["lost"], before)
    assert np.array_equal(parts["kept"] | parts["gained"], after)
    assert sum(part.astype(int) for part in parts.values()).max() <= 1
