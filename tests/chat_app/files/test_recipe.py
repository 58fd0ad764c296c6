"""Recipes: what stands of a conversation, saved, and run again on other images."""

import csv

import geopandas
import numpy as np
import pytest

from chat_app.errors import ChatError
from chat_app.files.recipe import read_recipe, replay, steps_of, write_recipe


@pytest.fixture
def told(conversation, session):
    for message in ("show me the trees", "undo", "show me the vegetation", "no, i meant the water", "only the biggest one", "how big is it?", "drop anything under 900 km2", "undo", "rename it to Lake"):  # fmt: skip
        list(conversation.run_turn(session.id, message))
    return session


def test_only_what_stands_is_in_the_recipe(told):
    assert [step.plan.intent for step in steps_of(told.turns)] == ["extract", "refine", "rename"]
    assert steps_of(told.turns)[0].plan.land_covers == ("water",)


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
    "text", ["", "steps: 3", "spex_recipe: 1", "spex_recipe: 1\nsteps: [{say: x, plan: {intent: fly}}]", "{{{"]
)
def test_what_is_no_recipe_is_refused_with_a_sentence(text, tmp_path):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ChatError, match=r"r\.yaml"):
        read_recipe(tmp_path / "r.yaml")
