"""Metrics on masks that can be counted by hand."""

import numpy as np
import pytest

from spex_model.training.datasets import UNKNOWN
from spex_model.training.metrics import Tally, count


def _labels() -> np.ndarray:
    labels = np.zeros((20, 20), np.uint8)
    labels[5:15, 5:15] = 1
    labels[0] = UNKNOWN
    return labels


def test_counts_leave_out_what_is_not_known():
    mask = np.zeros((20, 20), bool)
    mask[0:15, 5:10] = True
    one = count(mask, _labels(), "a")
    assert (one.hit, one.false, one.missed, one.known) == (50, 20, 50, 380)
    assert one.iou == pytest.approx(50 / 120)


def test_figures_pool_pixels_and_average_sites():
    tally = Tally()
    labels = _labels()
    tally.add(labels == 1, labels, "a")
    tally.add(np.zeros((20, 20), bool), labels, "b")
    figures = tally.figures()
    assert figures["iou"] == 0.5 and figures["site_mean"] == 0.5 and figures["image_mean"] == 0.5
    assert figures["precision"] == 1 and figures["recall"] == 0.5 and figures["low"] == 0 and figures["high"] == 1


def test_an_edge_within_two_pixels_is_right_and_one_beyond_is_not():
    labels = _labels()
    near, far = Tally(), Tally()
    near.add(np.roll(labels == 1, 1, axis=1), labels)
    far.add(np.roll(labels == 1, 5, axis=1), labels)
    assert near.figures()["boundary_f1"] == 1
    assert far.figures()["boundary_f1"] < 0.8


def test_clean_counts_images_without_the_class():
    tally = Tally()
    empty = np.zeros((20, 20), np.uint8)
    speck, much = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    speck[0, 0], much[:5] = True, True
    tally.add(speck, empty)
    tally.add(much, empty)
    figures = tally.figures()
    assert figures["clean"] == 0.5 and figures["iou"] == 0 and figures["recall"] is None
