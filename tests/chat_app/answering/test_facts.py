"""Measured facts of layers that an index made, and the words for them, on literal little images."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from chat_app.plan import Plan


@pytest.fixture
def open_image(conversation, tmp_path):
    """A function that opens planes (H, W) of reflectance, one a named band, as a session, and gives what speaks to it."""

    def opened(**bands):
        path, planes = tmp_path / "image.tif", np.stack(list(bands.values()))
        count, height, width = planes.shape
        profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": "uint16"}
        with rasterio.open(path, "w", crs="EPSG:32632", transform=Affine(10, 0, 5e5, 0, -10, 5e6), **profile) as file:
            file.write(np.round(planes * 10_000).astype("uint16"))
            file.descriptions, file.scales = tuple(bands), [1e-4] * count
        session = conversation.store.create(path)
        return lambda message, **plan: (
            list(conversation.run_turn(session.id, message, plan=Plan.model_validate(plan) if plan else None))[-1].turn
        )

    return opened


LEFT = np.arange(20)[None].repeat(20, 0) < 10


def test_why_speaks_of_the_index_that_made_the_mask(open_image):
    say = open_image(
        green=np.where(LEFT, 0.08, 0.06), nir=np.where(LEFT, 0.02, 0.3), swir1=np.where(LEFT, 0.01, 0.2), red=0.04 + 0 * LEFT
    )  # fmt: skip
    say("water by NDWI", intent="extract", land_covers=["water"], index="NDWI")
    why = say("why?", intent="explain")
    assert why.facts["index"] == "NDWI" and "MNDWI" not in why.reply
    assert "NDWI above 0.00, the usual limit: " in why.reply and "(McFeeters 1996)" in why.reply
    assert "NDWI averages 0.60 inside the mask and -0.67 outside." in why.reply

    say("vegetation by SAVI", intent="extract", land_covers=["vegetation"], index="SAVI")
    why = say("why?", intent="explain", target="vegetation")
    assert "SAVI above 0.00, since no limit was given: " in why.reply and "usual" not in why.reply


def test_why_still_names_the_index_after_the_bands_are_named_anew(open_image):
    say = open_image(green=np.where(LEFT, 0.08, 0.06), nir=np.where(LEFT, 0.02, 0.3))
    say("water by NDWI", intent="extract", land_covers=["water"], index="NDWI")
    say("the bands are green, red")
    why = say("why?", intent="explain")
    assert why.error is None and "NDWI above 0.00" in why.reply and "averages" not in why.reply


def test_plants_without_red_are_told_by_leaf_water(open_image):
    say = open_image(swir1=np.where(LEFT, 0.2, 0.3), nir=np.where(LEFT, 0.4, 0.2), blue=0.05 + 0 * LEFT)
    say("vegetation by NDMI", intent="extract", land_covers=["vegetation"], index="NDMI")
    health = say("how healthy is it?", intent="measure", quantity="condition")
    assert (
        health.reply
        == "By NDMI (leaf water, mean 0.33) 100.0 % of vegetation is moist (above 0.2) and 0 % dry (below 0)."
    )
    described = say("describe it", intent="describe")
    assert "mean NDMI (leaf water) is 0.33: 100.0 % of it is moist" in described.reply and "NDVI" not in described.reply


def test_every_region_can_be_located(open_image):
    wet = np.zeros((40, 40), bool)
    for row, height in enumerate((9, 8, 7, 6, 5, 4, 3)):
        wet[1 : 1 + height, 5 * row + 1 : 5 * row + 4] = True
    say = open_image(green=np.where(wet, 0.08, 0.06), nir=np.where(wet, 0.02, 0.3))
    say("water by NDWI", intent="extract", land_covers=["water"], index="NDWI")
    sixth = say("where is the sixth largest?", intent="locate", rank=6)
    assert "The 6th largest region of water lies in the top-right, centred on row 2, column 27" in sixth.reply
    assert sixth.facts["region"]["pixels"] == 12
    eighth = say("where is number eight?", intent="locate", rank=8)
    assert eighth.reply == "The layer water has 7 regions; there is no number 8."
