"""Marks lie on the largest errors, and say what shall become of them."""

import numpy as np

from spex_model.model.click_head import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, POINT_ADD, POINT_REMOVE
from spex_model.training.evaluate_clicks import iou, largest_error, marks_on_errors


def test_marks_on_a_missed_and_a_false_piece():
    labels = np.zeros((30, 30), np.uint8)
    labels[2:9, 2:9] = 1
    mask = np.zeros((30, 30), bool)
    mask[20:26, 10:16] = True
    added, framed, removed = marks_on_errors(mask, labels)
    assert added == ("click, add", [(5, 5, POINT_ADD)], (5, 5), True)
    assert framed[1] == [(2, 2, BOX_TOP_LEFT), (8, 8, BOX_BOTTOM_RIGHT)]
    assert removed[0] == "click, remove" and removed[1][0][2] == POINT_REMOVE and mask[removed[2]] and not removed[3]


def test_small_errors_are_left_alone():
    wrong = np.zeros((10, 10), bool)
    wrong[:3, :5] = True
    assert largest_error(wrong) is None
    assert iou(wrong, np.zeros((10, 10), np.uint8)) == 0
