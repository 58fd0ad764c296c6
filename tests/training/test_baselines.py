"""Baselines answer on the scene's grid, and learn what a pixel can tell."""

import numpy as np
import torch

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.model.config import SpexConfig
from spex_model.training.baselines import Forest, PlainUNet, index_masks
from spex_model.training.contact_sheet import ContactSheet
from spex_model.training.datasets import Tile
from spex_model.training.evaluate import keep_bands, told_apart
from spex_model.training.synthesis import cover_mask, synthesize


def test_a_forest_learns_water_from_pixels():
    made = synthesize(77, size=160, whole=True)
    scene, truth = made.scene, cover_mask(made.labels, "water")
    covers = np.stack([cover_mask(made.labels, cover) for cover in LAND_COVERS])
    tile = Tile("t", "landsat", "1", np.nan_to_num(scene.reflectance), scene.valid, covers, scene.bands, 30.0, True)
    forest = Forest()
    forest.fit([tile], per_tile=3000)
    mask = forest.mask("landsat", scene, "water")
    assert mask is not None and forest.mask("buildings", scene, "water") is None
    known = truth != 255
    assert ((mask == (truth == 1)) & known).sum() / known.sum() > 0.95


def test_the_unet_keeps_the_grid():
    unet = PlainUNet(SpexConfig().num_channels)
    assert unet(torch.zeros(1, SpexConfig().num_channels, 32, 48)).shape == (1, len(LAND_COVERS), 32, 48)


def test_indices_need_their_bands():
    scene = synthesize(6, size=64, sensor="sentinel2").scene
    assert set(index_masks(scene, "water")) == {"NDWI", "MNDWI", "NDWI, Otsu", "MNDWI, Otsu"}
    assert index_masks(keep_bands(scene, ("blue", "green", "red")), "water") == {}


def test_told_apart_leaves_grass_out():
    labels = {cover: np.zeros((1, 3), np.uint8) for cover in LAND_COVERS}
    labels["trees"][0, 0] = 1
    labels["water"][0, 1] = 1
    assert told_apart(labels, "trees").tolist() == [[1, 0, 255]]


def test_a_contact_sheet_has_a_row_a_group(tmp_path):
    made = synthesize(5, size=64)
    truth = cover_mask(made.labels, "vegetation")
    sheet = ContactSheet()
    sheet.add("synthetic", made.scene, {"vegetation": truth == 1}, {"vegetation": truth})
    sheet.save(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
