"""Training crops: shapes, determinism, and clouds that leave the truth alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spex_model.training.crops import CropSampler, CropSettings, pass_clouds, repeat_factors
from spex_model.training.datasets import UNKNOWN, synthetic_tiles


def test_a_crop_follows_from_its_generator():
    sampler = CropSampler(synthetic_tiles(iter((3,)), size=96), CropSettings(size=64, prompts=3))
    one, two = (sampler.draw(np.random.default_rng(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert one.labels.shape == (3, 64, 64) and one.clicks.shape == one.boxes.shape == (3, 2, 3)
    assert set(one.labels.unique().tolist()) <= {0, 1, UNKNOWN}
    assert torch.equal(one.labels, one.covers[one.asked])


def test_a_crop_without_corrections_has_no_marks():
    sampler = CropSampler(synthetic_tiles(iter((3,)), size=96), CropSettings(size=64, corrections=False))
    crop = sampler.draw(np.random.default_rng(5))
    assert crop.clicks.shape == crop.boxes.shape == (2, 0, 3)
    assert torch.equal(crop.clicked_labels, crop.labels) and torch.equal(crop.boxed_labels, crop.labels)


def test_shadow_darkens_and_thick_cloud_hides():
    rng = np.random.default_rng(2)
    reflectance = np.full((4, 64, 64), 0.2)
    covers = np.ones((2, 64, 64), np.uint8)
    covers[1] = UNKNOWN
    seen = [pass_clouds(reflectance, ("blue", "green", "red", "nir"), covers, rng) for _ in range(20)]
    assert min(values.min() for values, _ in seen) < 0.12
    for values, labels in seen:
        assert np.isfinite(values).all() and (labels[1] == UNKNOWN).all()
        hidden = labels[0] == 0
        assert not hidden.any() or values[:, hidden].mean() > 0.2


def test_tiles_of_a_rare_land_cover_come_more_often():
    (tile,) = synthetic_tiles(iter((3,)), size=64)
    empty = np.zeros_like(tile.covers)
    common, rare = empty.copy(), empty.copy()
    common[0], rare[1, :40] = 1, 1
    tiles = [replace(tile, covers=covers) for covers in (rare, *[common] * 7)]
    assert repeat_factors(tiles) == pytest.approx([2.0] + [1.0] * 7)
    assert repeat_factors([replace(tile, covers=empty)]) == pytest.approx([1.0])
