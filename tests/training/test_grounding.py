"""The checker of descriptions: true texts pass, and whatever is made wrong in them is caught."""

import ast
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from spex_model.imaging.scene import Scene
from spex_model.training import grounding
from spex_model.training.grounding.attributes import check_attributes
from spex_model.training.grounding.check import Tally, check_text, figures_outside, report
from spex_model.training.grounding.measures import index_mask, pieces_of, pixel_areas, place_of
from spex_model.training.grounding.statements import FIGURE, find_statements
from spex_model.training.grounding.subject import Ground
from spex_model.training.spie.records import sample_records
from spex_model.training.spie.samples import synthetic_samples


def test_the_checker_shares_no_code_with_what_it_checks():
    folder = Path(grounding.__file__).parent
    for name in ("check", "measures", "subject", "statements", "attributes"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        ours = {module for module in modules if module.startswith("spex_model.") and "training.grounding" not in module}
        assert ours <= {"spex_model.imaging.scene", "spex_model.training"}, (name, ours)


def lake_scene(**changes):
    """60 x 60 pixels of 10 m: a lake of 20 x 20 in the top left, a pond of 4 x 4 in the bottom right, trees beside the lake."""
    water = np.zeros((60, 60), bool)
    water[0:20, 0:20] = True
    water[50:54, 50:54] = True
    trees = np.zeros((60, 60), bool)
    trees[0:20, 20:24] = True
    values = np.empty((4, 60, 60), np.float32)
    for number, (wet, dry) in enumerate(((0.06, 0.10), (0.04, 0.20), (0.02, 0.30), (0.01, 0.35))):
        values[number] = np.where(water, wet, dry)
    options = {"gsd_m": 10.0, **changes}
    scene = Scene(values, np.ones((60, 60), bool), ("green", "red", "nir", "swir1"), **options)
    return scene, water, {"water": water.astype(np.uint8), "trees": trees.astype(np.uint8)}


def judge(text, cover="water", mask=None, **changes):
    scene, water, planes = lake_scene(**changes)
    found = check_text(text, scene, water if mask is None else mask, cover, planes)
    return [(statement.kind, statement.true) for statement in found]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("I see water in 2 regions.", "I see water in 3 regions."),
        ("Water covers 4.16 ha, 11.6 % of the image.", "Water covers 4.61 ha, 11.6 % of the image."),
        ("Water covers 41,600 m2.", "Water covers 41,700 m2."),
        ("Measured on the mask: 4.2 ha, 12 % of the image, in 2 regions.", "Measured on the mask: 4.2 ha, 16 % of the image, in 2 regions."),
        ("The largest region is huge and lies in the top left.", "The largest region is large and lies in the top left."),
        ("The largest is huge and lies in the top-left.", "The largest is huge and lies in the top-right."),
        ("The largest region is rectangular.", "The largest region is round."),
        ("The second is medium and lies in the bottom-right.", "The second is medium and lies in the bottom-left."),
        ("The largest region has 4.00 ha.", "The second largest region has 4.00 ha."),
        ("I see one huge rectangular body of water in the top left.", "I see 2 huge bodies of water in the top left."),
        ("There MNDWI is above 0.00, with a mean of 0.71.", "There MNDWI is above 0.00, with a mean of 0.61."),
        ("The evidence is MNDWI: above 0.00, mean 0.71.", "The evidence is NDWI: above 0.00, mean 0.71."),
        ("MNDWI averages 0.71 inside it and -0.56 outside.", "MNDWI averages 0.71 inside it and -0.46 outside."),
        ("There it is, because green light comes back far more than short-wave infrared.", "There it is, because short-wave infrared exceeds near-infrared."),
        ("The water borders trees (33.3 % of its rim).", "The water borders trees (43.3 % of its rim)."),
        ("The largest region borders trees (48.8 % of its rim).", "The largest region borders bare soil (48.8 % of its rim)."),
    ],
)  # fmt: skip
def test_a_true_sentence_stands_and_the_same_with_one_mistake_falls(right, wrong):
    if "rim" in right:  # the shares are worked out by hand below
        right = right.replace("33.3", f"{100 * 20 / 61:.1f}").replace("48.8", f"{100 * 20 / 41:.1f}")
    assert judge(right) and all(true for _, true in judge(right)), judge(right)
    assert not all(true for _, true in judge(wrong)), judge(wrong)


def test_absence_is_true_of_an_image_whose_every_pixel_is_known_to_lack_it():
    empty = np.zeros((60, 60), bool)
    text = "There is no water in this image."
    assert judge(text) == [("absence", False)]
    scene, _, planes = lake_scene()
    planes["water"] = np.zeros((60, 60), np.uint8)
    assert [s.true for s in check_text(text, scene, empty, "water", planes)] == [True]
    planes["water"][30, 30] = 255
    assert [s.true for s in check_text(text, scene, empty, "water", planes)] == [False]


def test_what_labels_do_not_know_is_no_part_of_the_image_that_they_measure():
    scene, water, planes = lake_scene()
    planes["water"][30:60, 0:30] = 255
    share = 100 * 416 / (3600 - 900)
    assert [s.true for s in check_text(f"It covers {share:.1f} % of the labelled pixels.", scene, water, "water", planes)] == [True]  # fmt: skip
    assert [s.true for s in check_text("It covers 11.6 % of the image.", scene, water, "water", planes)] == [False]


def test_bands_that_are_not_there_are_caught():
    assert judge("The bands are green, red, nir, swir1.") == [("bands", True)]
    assert judge("The bands are red, green, blue.") == [("bands", False)]
    assert judge("The bands green, red, nir, swir1 allow no index for it.")[-1] == ("bands", False)
    assert judge("The image carries no pixel size.") == [("bands", False)]
    assert judge("The image carries no pixel size.", gsd_m=None) == [("bands", True)]
    assert judge("Water covers 4.16 ha.", gsd_m=None) == [("area", False)]


def test_regions_of_equal_size_may_swap_ranks_and_no_others():
    mask = np.zeros((60, 60), bool)
    mask[2:6, 2:6] = mask[50:54, 50:54] = mask[30:33, 30:33] = True
    for place in ("top-left", "bottom-right"):
        assert judge(f"The largest lies in the {place}.", mask=mask) == [("place", True)]
    assert judge("The largest lies in the center.", mask=mask) == [("place", False)]


def test_a_row_is_told_from_a_heap():
    mask = np.zeros((90, 90), bool)
    for column in (3, 10, 17, 24):
        mask[10:13, column : column + 3] = True
    scene = Scene(np.ones((1, 90, 90), np.float32), np.ones((90, 90), bool), ("red",))
    text = "There: a row of 4 small roofs in the top left."
    assert [s.true for s in check_text(text, scene, mask, "buildings")] == [True]
    heap = np.zeros_like(mask)
    heap[3:6, 3:6] = heap[3:6, 20:23] = heap[20:23, 3:6] = heap[20:23, 20:23] = True
    assert [s.true for s in check_text(text, scene, heap, "buildings")] == [False]


@pytest.mark.parametrize(
    ("angle", "length", "width", "word"),
    [(0, 40, 8, "elongated"), (30, 50, 10, "elongated"), (0, 20, 14, "rectangular"), (25, 40, 30, "rectangular")],
)
def test_shapes_of_turned_rectangles(angle, length, width, word):
    rows, columns = np.mgrid[:90, :90] - 45
    turn = np.radians(angle)
    along = columns * np.cos(turn) + rows * np.sin(turn)
    across = rows * np.cos(turn) - columns * np.sin(turn)
    [piece] = pieces_of((np.abs(along) <= length / 2) & (np.abs(across) <= width / 2))
    assert piece.has_shape(word) and not piece.has_shape("round")
    assert piece.rectangle == pytest.approx((length, width), abs=2.5)


def test_a_disk_is_round_and_centred():
    rows, columns = np.mgrid[:61, :61] - 30
    [piece] = pieces_of(rows**2 + columns**2 <= 15**2)
    assert piece.has_shape("round") and not piece.has_shape("elongated") and not piece.has_shape("irregular")
    assert place_of(piece, (61, 61)) == {"center"}


def test_pixels_of_a_projection_are_measured_on_the_ellipsoid():
    grid = Affine(100, 0, 0, 0, -100, 8_400_000)
    scene = Scene(np.ones((1, 4, 4), np.float32), np.ones((4, 4), bool), ("red",), grid, CRS.from_epsg(3857), 100.0)
    areas = pixel_areas(scene)
    assert areas is not None and areas.mean() == pytest.approx(2500, rel=0.01)  # Mercator stretches by 1 / cos(60°)


def test_the_index_mask_follows_its_written_rule():
    scene, water, _ = lake_scene()
    assert np.array_equal(index_mask(scene, "water").mask, water)
    assert index_mask(scene, "buildings").index == "NDBI" and index_mask(scene, "water").threshold == 0


def test_a_list_of_attributes_is_held_to_the_pixels():
    scene, water, _ = lake_scene()
    ground = Ground(scene, "water", water)
    lake = "{'Size of area': 'huge', 'Centroid': [0.167, 0.167], 'Location': 'top-left', 'Bounding box': [[0.000, 0.000], [0.333, 0.000], [0.333, 0.333], [0.000, 0.333]]}"
    pond = "{'Size of area': 'medium', 'Centroid': [0.867, 0.867], 'Location': 'bottom-right', 'Bounding box': [[0.833, 0.833], [0.900, 0.833], [0.900, 0.900], [0.833, 0.900]]}"
    assert all(statement.true for statement in check_attributes(f"[{lake}, {pond}]", ground))
    for wrong in (
        f"[{pond}, {lake}]", f"[{lake}]", f"[{lake}, {pond}]".replace("0.867", "0.857"), f"[{lake}, {pond}]".replace("'huge'", "'large'"),
        f"[{lake}, {pond}]".replace("[0.900, 0.900]", "[0.950, 0.950]"), f"[{lake}, {pond}]".replace("[0.333, 0.333]", "[0.300, 0.300]"),
    ):  # fmt: skip
        assert not all(statement.true for statement in check_attributes(wrong, ground)), wrong


def test_a_figure_that_is_part_of_another_does_not_stand_in_the_prompt():
    assert figures_outside("It has 12 ha.", "area: 112 ha, 12.5 %") == ["12"]
    assert figures_outside("It has 12.5 % and -0.30.", "area: 12.5 %, mean -0.30") == []


def test_figures_that_no_pattern_reads_are_reported():
    scene, water, _ = lake_scene()
    assert find_statements("Some 17 geese swim on it.", Ground(scene, "water", water)) == ([], ["17"])


def test_a_report_names_what_is_false():
    scene, water, _ = lake_scene()
    tally = Tally()
    tally.add(check_text("I see water in 7 regions.", scene, water, "water"), [], "one")
    text = report({"all": tally}, "Test")
    assert tally.share == 0 and "7 regions" in text and "2 regions" in text


_WORDS = {
    "place": ["top left", "top center", "top right", "middle left", "center", "middle right", "bottom left", "bottom center", "bottom right"],
    "size": ["huge", "somewhat large", "medium", "very tiny"],
    "shape": ["elongated", "round", "rectangular", "compact"],
}  # fmt: skip


def spoilt(answer, rng):
    """Copies of an answer with one thing made wrong: (what, text)."""
    for match in FIGURE.finditer(answer):
        digits = match[0]
        place = (
            next(number for number, sign in enumerate(digits) if sign in "123456789") if digits.strip("-0.,") else None
        )
        if place is None:
            changed = re.sub("0$", "7", digits)
        else:
            changed = digits[:place] + rng.choice([sign for sign in "123456789" if sign != digits[place]]) + digits[place + 1 :]  # fmt: skip
        yield "figure", answer[: match.start()] + changed + answer[match.end() :]
    for kind, words in _WORDS.items():
        known = (
            [*words, "irregular"] if kind == "shape" else words
        )  # "irregular" is true of rectangles, so none is made so
        pattern = "|".join(sorted((re.escape(word).replace(r"\ ", "[ -]") for word in known), key=len, reverse=True))
        for match in re.finditer(rf"\b(?:{pattern})\b", answer):
            others = [word for word in words if word != match[0].replace("-", " ")]
            yield kind, answer[: match.start()] + rng.choice(others) + answer[match.end() :]


def test_nearly_every_spoilt_answer_is_caught():
    rng, caught, tried = random.Random(0), Counter(), Counter()
    for sample in synthetic_samples(6, 3, size=128):
        for record in sample_records(sample, 0):
            labels = record.speaks_of == "labels"
            cover = record.land_cover
            mask = sample.scene.valid & (sample.covers[cover] == 1) if labels else index_mask(sample.scene, cover).mask
            ground = Ground(sample.scene, cover, mask, sample.covers, labels)
            statements, unread = find_statements(record.answer, ground)
            assert not unread and all(statement.true for statement in statements), record
            for what, text in spoilt(record.answer, rng):
                tried[what] += 1
                caught[what] += not all(statement.true for statement in find_statements(text, ground)[0])
    assert sum(tried.values()) > 500
    assert {what: round(caught[what] / tried[what], 3) for what in tried if caught[what] < 0.97 * tried[what]} == {}
