"""Spectral indices and what they say of a land cover."""

import numpy as np
import pytest

from spex_model.imaging.errors import BandsError
from spex_model.imaging.indices import (
    INDEX_NAMES,
    available_indices,
    canonical_index,
    clean_mask,
    compute_index,
    evidence_text,
    index_source,
    needed_bands,
    prior_for,
)  # fmt: skip
from spex_model.imaging.landcover import LAND_COVERS

SPECTRA = {
    "water": {"blue": 0.06, "green": 0.05, "red": 0.03, "nir": 0.01, "swir1": 0.005, "swir2": 0.004},
    "muddy": {"blue": 0.05, "green": 0.09, "red": 0.13, "nir": 0.05, "swir1": 0.004, "swir2": 0.003},
    "plants": {"blue": 0.03, "green": 0.08, "red": 0.04, "nir": 0.45, "swir1": 0.2, "swir2": 0.1},
    "soil": {"blue": 0.1, "green": 0.14, "red": 0.2, "nir": 0.26, "swir1": 0.36, "swir2": 0.3},
    "roof": {"blue": 0.2, "green": 0.22, "red": 0.24, "nir": 0.26, "swir1": 0.32, "swir2": 0.3},
}


def halves(make_scene, one, other, bands=tuple(SPECTRA["water"]), **options):
    """A scene with one spectrum on the left, another on the right."""
    left = np.arange(20)[None] < 10
    return make_scene(
        (20, 20), **{band: np.where(left, SPECTRA[one][band], SPECTRA[other][band]) for band in bands}, **options
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NDVI", (0.45 - 0.04) / 0.49), ("NDWI", (0.08 - 0.45) / 0.53), ("MNDWI", (0.08 - 0.2) / 0.28), ("NDBI", (0.2 - 0.45) / 0.65),
        ("NDMI", (0.45 - 0.2) / 0.65), ("NDSI", (0.08 - 0.2) / 0.28), ("SAVI", 1.5 * 0.41 / 0.99), ("GNDVI", (0.45 - 0.08) / 0.53),
        ("BI", (0.24 - 0.48) / 0.72), ("AWEInsh", 4 * (0.08 - 0.2) - 0.25 * 0.45 - 2.75 * 0.1), ("VARI", 0.04 / (0.08 + 0.04 - 0.03)), ("ExG", 0.16 - 0.04 - 0.03),
    ],
)  # fmt: skip
def test_formulas(make_scene, name, value):
    scene = halves(make_scene, "plants", "plants")
    assert compute_index(scene, name.lower())[0, 0] == pytest.approx(value, rel=1e-4)
    formula, source = index_source(name)
    assert formula and source.startswith("http") and set(needed_bands(name)) <= set(scene.bands)
    assert name in available_indices(scene)


def test_names_and_missing_bands(make_scene):
    assert [canonical_index(f" {name.lower()} ") for name in INDEX_NAMES] == list(INDEX_NAMES)
    with pytest.raises(BandsError, match=r"index EVI2 is not known here\. Known: NDVI"):
        canonical_index("EVI2")
    rgb = make_scene(red=0.1, green=0.2, blue=0.1)
    with pytest.raises(
        BandsError, match=r"has red, green, blue only; NDWI needs nir\. Ask without the index, or upload"
    ):
        compute_index(rgb, "ndwi")
    assert available_indices(rgb) == ("VARI", "ExG") and available_indices(make_scene(pan=0.1)) == ()


def test_undefined_values_are_nan_and_negative_reflectance_counts_as_zero(make_scene):
    valid = np.ones((1, 4), bool)
    valid[0, 3] = False
    scene = make_scene((1, 4), valid=valid, green=[0.0, 0.02, 0.02, 0.1], swir1=[0.0, -0.015, 0.02, 0.1])
    values = compute_index(scene, "MNDWI")
    assert np.isnan(values[0, [0, 3]]).all() and values[0, 1] == 1 and values[0, 2] == 0
    assert values.dtype == np.float32


def test_vari_is_not_defined_in_blue_pixels(make_scene):
    """A blue roof (denominator below zero), a pond (near zero), leaves, and a blue roof whose green exceeds its red."""
    scene = make_scene((1, 4), red=[0.4, 0.03, 0.04, 0.2], green=[0.38, 0.05, 0.08, 0.3], blue=[0.85, 0.07, 0.03, 0.48])
    values = compute_index(scene, "VARI")
    assert np.isnan(values[0, [0, 1, 3]]).all() and values[0, 2] == pytest.approx(0.04 / 0.09, rel=1e-4)
    roof = make_scene((8, 8), red=0.4, green=0.38, blue=0.85)
    assert not prior_for(roof, "vegetation").mask.any() and not prior_for(roof, "trees").mask.any()


def test_dark_water_with_negative_short_wave_is_water(make_scene):
    scene = make_scene((8, 8), green=0.012, swir1=-0.01)
    assert prior_for(scene, "water").mask.all()


@pytest.mark.parametrize(
    ("land_cover", "inside", "outside", "index"),
    [
        ("water", "water", "soil", "MNDWI"), ("water", "muddy", "plants", "MNDWI"), ("vegetation", "plants", "roof", "NDVI"),
        ("trees", "plants", "soil", "NDVI"), ("buildings", "roof", "plants", "NDBI"), ("bare soil", "soil", "plants", "BI"),
        ("bare soil", "soil", "muddy", "BI"), ("buildings", "roof", "water", "NDBI"),
    ],
)  # fmt: skip
def test_the_prior_of_each_land_cover(make_scene, land_cover, inside, outside, index):
    scene = halves(make_scene, inside, outside)
    prior = prior_for(scene, land_cover)
    assert prior.index == index and prior.above
    assert prior.mask[:, :10].all() and not prior.mask[:, 10:].any()
    assert prior.reason.startswith(f"{index} above {prior.threshold:.2f}, the usual limit: ") and prior.reason.endswith(
        "."
    )


def test_without_short_wave_infrared_water_falls_back(make_scene):
    scene = halves(make_scene, "water", "soil", ("red", "green", "blue", "nir"))
    prior = prior_for(scene, "water")
    assert prior.index == "NDWI" and prior.mask.sum() == 200
    for land_cover in ("buildings", "bare soil"):
        none = prior_for(scene, land_cover)
        assert none.index is None and none.threshold is None and none.values is None and not none.mask.any()
        assert "from the bands red, green, blue, nir; it would need" in none.reason


@pytest.mark.parametrize("land_cover", LAND_COVERS)
@pytest.mark.parametrize("calibrated", [True, False])
def test_all_water_no_water_and_constant_images(make_scene, land_cover, calibrated):
    for kind, wanted in (("water", "water"), ("plants", "vegetation"), ("soil", "bare soil")):
        prior = prior_for(halves(make_scene, kind, kind, calibrated=calibrated), land_cover)
        if land_cover == wanted:
            assert prior.mask.all()
        elif {land_cover, wanted} in (
            {"water", "vegetation"},
            {"water", "bare soil"},
            {"water", "buildings"},
            {"vegetation", "bare soil"},
        ):
            assert not prior.mask.any()


def test_uncalibrated_land_without_water_is_not_split_in_two(make_scene):
    """Leafless woods and meadows from the air: near-infrared is no brighter than green there, and no water is in sight."""
    random = np.random.default_rng(0)
    green = random.uniform(0.4, 0.6, (40, 40))
    scene = make_scene(
        (40, 40), calibrated=False, red=0.5, green=green, blue=0.4, nir=green * random.uniform(0.8, 1.3, (40, 40))
    )
    assert prior_for(scene, "water").mask.mean() < 0.01


def test_uncalibrated_thresholds_adapt_and_say_so(make_scene):
    random = np.random.default_rng(0)
    ndvi = np.where(np.arange(40)[None] < 20, 0.0, 0.3) + random.normal(0, 0.02, (40, 40))
    scene = make_scene((40, 40), calibrated=False, red=0.3, nir=0.3 * (1 + ndvi) / (1 - ndvi), green=0.3, blue=0.3)
    prior = prior_for(scene, "vegetation")
    assert 0.05 < prior.threshold < 0.25 and prior.mask[:, 20:].mean() > 0.98 and prior.mask[:, :20].mean() < 0.02
    assert "a limit fitted to this image" in prior.reason


def test_a_pond_in_an_aerial_image_is_found(make_scene):
    random = np.random.default_rng(0)
    ndwi = np.where(np.hypot(*np.mgrid[-20:20, -20:20]) < 8, 0.3, -0.4) + random.normal(0, 0.05, (40, 40))
    scene = make_scene((40, 40), calibrated=False, red=0.3, blue=0.3, nir=0.3, green=0.3 * (1 + ndwi) / (1 - ndwi))
    assert prior_for(scene, "water").mask.sum() == pytest.approx(np.pi * 64, rel=0.1)


def test_an_index_by_name_knows_its_side(make_scene):
    scene = halves(make_scene, "water", "plants")
    below = prior_for(scene, "water", index="ndvi")
    assert not below.above and below.mask[:, :10].all() and not below.mask[:, 10:].any()
    assert below.reason.startswith("NDVI below 0.00") and evidence_text(below, scene, 1).startswith(
        "NDVI below 0.00, mean -0.5"
    )
    plants = prior_for(scene, "vegetation", index="GNDVI").reason
    assert plants == "GNDVI above 0.00, since no limit was given: the index was asked for by name."
    usual = prior_for(scene, "water", index="MNDWI")
    assert usual.above and np.array_equal(usual.mask, prior_for(scene, "water").mask)
    with pytest.raises(BandsError, match="not known"):
        prior_for(scene, "water", index="magic")


def test_priors_stay_within_valid_pixels(make_scene):
    valid = np.ones((20, 20), bool)
    valid[8, 8] = False
    valid[:, 15:] = False
    for land_cover in LAND_COVERS:
        for kind in SPECTRA:
            assert not (prior_for(halves(make_scene, kind, kind, valid=valid), land_cover).mask & ~valid).any()


def test_clean_mask_drops_specks_and_fills_pinholes():
    mask = np.zeros((12, 12), bool)
    mask[0, :3] = True  # three pixels: a speck
    mask[2, 0] = mask[3, 1] = mask[4, 2] = mask[5, 3] = True  # four at corners: kept
    mask[6:12, 5:12] = True
    mask[8, 7:10] = False  # a hole of three
    cleaned = clean_mask(mask)
    assert not cleaned[0].any() and cleaned[5, 3] and cleaned[8, 8]
    mask[9, 7] = False  # a hole of four stays
    assert not clean_mask(mask)[8, 8]
    assert not clean_mask(np.zeros((3, 3), bool)).any() and clean_mask(np.ones((3, 3), bool)).all()


def test_evidence_lines(make_scene):
    scene = halves(make_scene, "water", "soil")
    assert evidence_text(prior_for(scene, "water"), scene, 1) == "MNDWI above 0.00, mean 0.82, 1 region"
    assert evidence_text(prior_for(scene, "trees"), scene, 0) == "NDVI above 0.50 nowhere"
    rgb = make_scene(red=0.1, green=0.1, blue=0.1)
    assert evidence_text(prior_for(rgb, "water"), rgb, 0) == "no index, the bands are red, green, blue"
