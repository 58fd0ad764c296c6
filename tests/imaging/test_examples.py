"""The example scenes that come with the app."""

from pathlib import Path

import numpy as np
import pytest

from spex_model.imaging.indices import prior_for
from spex_model.imaging.reading import open_scene
from spex_model.training.synthesis import EXAMPLES, FIRST_EVALUATION_SEED, main

FOLDER = Path(__file__).parents[2] / "assets" / "examples"
SENTINEL2 = ("blue", "green", "red", "rededge", "rededge2", "rededge3", "nir", "nir2", "swir1", "swir2")


@pytest.mark.parametrize(
    ("name", "bands", "gsd_m", "calibrated", "water"),
    [
        ("landsat7_olinda.tif", ("blue", "green", "red", "nir", "swir1", "swir2"), 28.5, False, (0.12, 0.22)),
        ("synthetic_sentinel2.tif", SENTINEL2, 10, True, (0.05, 0.15)),
        ("synthetic_aerial.tif", ("red", "green", "blue", "nir"), 1, False, (0.02, 0.06)),
    ],
)
def test_examples_open_with_named_bands_and_pixel_size(name, bands, gsd_m, calibrated, water):
    scene = open_scene(FOLDER / name)
    assert scene.bands == bands and scene.gsd_m == pytest.approx(gsd_m, rel=2e-3) and scene.georeferenced
    assert scene.calibrated == calibrated and scene.valid.all()
    least, most = water
    assert least < prior_for(scene, "water").mask.mean() < most


def test_examples_are_small_and_described():
    files = sorted(FOLDER.glob("*.tif"))
    readme = (FOLDER / "README.md").read_text()
    assert len(files) == 3 and all(path.stat().st_size < 6_000_000 for path in files)
    assert all(f"`{path.name}`" in readme for path in files) and "--write-examples" in readme


def test_examples_are_made_anew_by_the_documented_command(tmp_path, capsys):
    main(["--write-examples", str(tmp_path)])
    assert len(capsys.readouterr().out.splitlines()) == len(EXAMPLES)
    for name, (seed, _, _) in EXAMPLES.items():
        made, kept = open_scene(tmp_path / name), open_scene(FOLDER / name)
        np.testing.assert_allclose(made.reflectance, kept.reflectance, atol=0.005)
        assert made.bands == kept.bands and made.transform == kept.transform
        assert seed > FIRST_EVALUATION_SEED + 100
