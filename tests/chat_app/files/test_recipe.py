"""Recipes: what stands of a conversation, saved, and run again on other images."""

import csv

import geopandas
import numpy as np
import pytest
import rasterio

from chat_app.errors import ChatError
from chat_app.files.recipe import read_recipe, replay, steps_of, write_recipe
from chat_app.memory.store import SessionStore


@pytest.fixture
def told(conversation, session):
    for message in ("show me the trees", "undo", "show me the vegetation", "no, i meant the water", "only the biggest one", "how big is it?", "drop anything under 900 km2", "undo", "rename it to Lake"):  # fmt: skip
        list(conversation.run_turn(session.id, message))
    return session


def test_only_what_stands_is_in_the_recipe(told):
    assert [step.plan.intent for step in steps_of(told)] == ["extract", "refine", "rename"]
    assert steps_of(told)[0].plan.land_covers == ("water",)


def press_eye(session):
    """Hide or show the active layer as its button does: an undo step that no turn made."""
    with session.change("eye"):
        session.update_layer(session.active_layer, visible=not session.active_layer.visible)


def rows_of(session, conversation, scene_file, folder):
    """What a replay of the session's saved recipe on its own image leaves."""
    return replay(read_recipe(write_recipe(session, folder / "r.yaml")), [scene_file], conversation, folder / "out")


@pytest.mark.parametrize(
    ("acts", "said"),
    [
        (["show me the water", "only the biggest one", press_eye, "undo"], [0, 1]),
        (["show me the water", press_eye, "only the biggest one", "undo"], [0]),
        (["show me the water", "only the biggest one", press_eye, press_eye, "undo", "undo", "undo", "redo"], [0, 1]),
        (["show me the water", "only the biggest one", "back to turn 1", "undo"], [0, 1]),
        (["show me the water", "only the biggest one", "back to turn 1"], [0]),
        (["show me the water", "only the biggest one", "back to turn 0", "undo", "undo"], [0]),
        (["show me the water", "back to turn 0"], []),
        (["show me the water", "hide it", "hide it", "undo"], [0]),
        (["show me the water", "only the biggest one", press_eye, "how big is it?", "undo", "undo"], [0]),
        (["show me the water", "only the biggest one", "drop anything under 900 km2", "no, the 2 biggest"], [0, 1, 3]),
    ],
)
def test_the_recipe_leads_where_the_session_is(acts, said, conversation, session, scene_file, tmp_path):
    for act in acts:
        if callable(act):
            act(session)
        else:
            list(conversation.run_turn(session.id, act))
    messages = [act for act in acts if isinstance(act, str)]
    assert [step.say for step in steps_of(session)] == [messages[number] for number in said]
    rows = rows_of(session, conversation, scene_file, tmp_path)
    masks = [session.extraction(layer).mask for layer in session.layers]
    assert [row["pixels"] for row in rows if "pixels" in row] == [int(mask.sum()) for mask in masks]


def test_the_steps_outlive_a_restart(conversation, session, settings):
    for message in ("show me the water", "only the biggest one"):
        list(conversation.run_turn(session.id, message))
    press_eye(session)
    conversation.store.save(session)
    again = SessionStore(settings).open(session.id)
    assert [step.say for step in steps_of(again)] == ["show me the water", "only the biggest one"]
    again.undo()
    again.undo()
    assert [step.say for step in steps_of(again)] == ["show me the water"]


def test_a_layer_picked_by_hand_is_named(conversation, session, scene_file, tmp_path):
    for message in ("show me the water", "show me the trees"):
        list(conversation.run_turn(session.id, message))
    session.activate(session.find_layer("water"))
    for message in ("only the biggest one", "rename it to Lake", "hide it"):
        list(conversation.run_turn(session.id, message))
    assert [step.plan.target for step in steps_of(session)] == [None, None, "water", "water", "Lake"]
    session.activate(session.find_layer("trees"))
    list(conversation.run_turn(session.id, "delete it"))
    assert steps_of(session)[-1].plan.target == "trees"
    [row] = rows_of(session, conversation, scene_file, tmp_path)
    assert row["layer"] == "Lake" and row["pixels"] == int(session.extraction("Lake").mask.sum())
    assert row["regions"] == 1 and not row["error"]


def test_layers_that_show_a_change_are_not_in_the_recipe(conversation, session, scene_file, tmp_path):
    list(conversation.run_turn(session.id, "show me the water"))
    with rasterio.open(scene_file) as dataset:
        values, profile, names, scales = dataset.read(), dataset.profile, dataset.descriptions, dataset.scales
    with rasterio.open(tmp_path / "later.tif", "w", **profile) as dataset:
        dataset.write(np.roll(values, 8, axis=2))
        dataset.descriptions, dataset.scales = names, scales
    conversation.store.add_other(session, tmp_path / "later.tif")
    for message in ("what changed?", "hide the water gained", "only the biggest one", "what changed?", "undo"):
        list(conversation.run_turn(session.id, message))
    assert [layer.name for layer in session.layers] == ["water", "water gained", "water lost"]
    assert [step.say for step in steps_of(session)] == ["show me the water", "only the biggest one"]
    [row] = rows_of(session, conversation, scene_file, tmp_path)
    assert row["regions"] == 1 and not row["error"]


def test_a_replay_on_the_same_image_gives_the_same_mask(told, conversation, scene_file, tmp_path):
    steps = read_recipe(write_recipe(told, tmp_path / "recipe.yaml"))
    (tmp_path / "bad.tif").write_text("no image")
    rows = replay(steps, [tmp_path / "bad.tif", scene_file], conversation, tmp_path / "out")
    assert "bad.tif" in rows[0]["error"] and rows[1]["layer"] == "Lake"
    assert rows[1]["pixels"] == int(told.extraction("Lake").mask.sum())
    with (tmp_path / "out" / "results.csv").open() as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["bad.tif", "lakes.tif"]
    table = geopandas.read_file(tmp_path / "out" / "results.gpkg", layer="lakes Lake")
    assert np.isclose(table["area_m2"].sum(), rows[1]["area_m2"])


@pytest.mark.parametrize(
    "paths",
    [
        ["2020/field.tif", "2021/field.tif"],
        ["a/field.tif", "b/c/field.tif", "b/other.tif"],
        ["Field.tif", "field.tif"],
        ["field.tif", "field.tiff"],
    ],
)
def test_images_of_one_name_stay_apart(paths, told, conversation, scene_file, tmp_path):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(scene_file.read_bytes())
    rows = replay(steps_of(told), [tmp_path / path for path in paths], conversation, tmp_path / "out")
    assert [row["image"] for row in rows] == paths
    package = tmp_path / "out" / "results.gpkg"
    assert list(geopandas.list_layers(package)["name"]) == [row["table"] for row in rows]
    for row in rows:
        assert np.isclose(geopandas.read_file(package, layer=row["table"])["area_m2"].sum(), row["area_m2"])


@pytest.mark.parametrize(
    "text", ["", "steps: 3", "spex_recipe: 1", "spex_recipe: 1\nsteps: [{say: x, plan: {intent: fly}}]", "{{{"]
)
def test_what_is_no_recipe_is_refused_with_a_sentence(text, tmp_path):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ChatError, match=r"r\.yaml"):
        read_recipe(tmp_path / "r.yaml")
