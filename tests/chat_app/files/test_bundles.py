"""A session as a folder and as a zip: everything is there, and what other programs read agrees with the session."""

import zipfile

import geopandas
import numpy as np
import pytest
import rasterio

from chat_app.files.bundles import transcript, write_folder, zip_folder
from chat_app.files.recipe import read_recipe


@pytest.fixture
def told(conversation, session):
    for message in (
        "show me the water",
        "only the biggest one",
        "now the trees",
        "rename it to a/b *c*",
        "how big is it?",
    ):
        list(conversation.run_turn(session.id, message))
    return session


def test_a_folder_holds_image_layers_transcript_and_recipe(told, conversation, scene_file, tmp_path):
    folder = write_folder(told, conversation.store.image_path(told.id), tmp_path / "out")
    assert (folder / "image" / "lakes.tif").read_bytes() == scene_file.read_bytes()
    for path, layer in zip(sorted((folder / "layers").iterdir()), told.layers, strict=True):
        with rasterio.open(path) as mask:
            assert np.array_equal(mask.read(1) == 1, told.extraction(layer).mask)
        table = geopandas.read_file(folder / "layers.gpkg", layer=layer.name)
        assert len(table) == len(told.regions(layer)) and table.crs.to_epsg() == told.scene.crs.to_epsg()
    assert [step.plan.intent for step in read_recipe(folder / "recipe.yaml")] == [
        "extract",
        "refine",
        "extract",
        "rename",
    ]


def test_the_transcript_says_everything_and_no_markup_of_others(told, conversation):
    list(conversation.run_turn(told.id, "rename it to <img src=x> [a](http://b)"))
    text = transcript(told)
    assert all(turn.message.split()[0] in text for turn in told.turns) and "## 5. how big is it?" in text
    assert "<img" not in text and "[a](" not in text and r"a/b \*c\*" in text and "01-water.tif" in text


def test_a_session_without_layers_is_a_folder_too(session, conversation, tmp_path):
    folder = write_folder(session, conversation.store.image_path(session.id), tmp_path / "out")
    assert transcript(session).endswith("None.\n") and not list((folder / "layers").iterdir())


def test_the_zip_holds_the_folder(told, conversation, tmp_path):
    folder = write_folder(told, conversation.store.image_path(told.id), tmp_path / "lakes")
    with zipfile.ZipFile(zip_folder(folder)) as archive:
        names = set(archive.namelist())
    assert {"lakes/image/lakes.tif", "lakes/layers.gpkg", "lakes/transcript.md", "lakes/recipe.yaml"} <= names
