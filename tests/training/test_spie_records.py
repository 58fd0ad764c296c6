"""Instruction records: deterministic, grounded in their prompts, silent on what is not known."""

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import rasterio

from spex_model.imaging.errors import SceneError
from spex_model.imaging.indices import compute_index
from spex_model.imaging.reading import open_scene
from spex_model.imaging.scene import Scene
from spex_model.training.grounding.check import figures_outside, measure_records
from spex_model.training.spie.build import main
from spex_model.training.spie.descriptions import scene_record
from spex_model.training.spie.facts import index_explained, measure_cover, neighbours
from spex_model.training.spie.questions import QUESTION_KINDS, wordings
from spex_model.training.spie.records import TASKS, read_records, sample_records
from spex_model.training.spie.samples import Sample, as_stored, pair_sample, synthetic_samples

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def sample_of(covers, *, bands=("green", "red", "nir", "swir1"), gsd_m=10.0, calibrated=True, size=60):
    """A 60 x 60 image whose labels are the given ones, and not known of all other land covers."""
    values = np.full((len(bands), size, size), 0.2, np.float32)
    wet = covers.get("water", np.zeros((size, size))) == 1
    for number, band in enumerate(bands):
        values[number][wet] = {"green": 0.06, "red": 0.04}.get(band, 0.01)
    scene = as_stored(Scene(values, np.ones((size, size), bool), bands, gsd_m=gsd_m, calibrated=calibrated))
    names = ("water", "vegetation", "trees", "buildings", "bare soil")
    planes = {cover: covers.get(cover, np.full((size, size), 255)).astype(np.uint8) for cover in names}
    return Sample("made", "own", "made", "made", scene, planes, False)


def lake():
    water = np.zeros((60, 60), np.uint8)
    water[0:20, 0:20] = 1
    return water


def answers(sample, task, seeds=range(40)):
    """All answers of one task that seeds give."""
    return [record.answer for seed in seeds for record in sample_records(sample, seed) if record.task == task]


@pytest.fixture(scope="module")
def records():
    return [record for sample in synthetic_samples(10, 1, size=96) for record in sample_records(sample, 0)]


def test_a_seed_gives_the_same_records_and_another_seed_other_words():
    one, two, other = (
        [record for sample in synthetic_samples(2, 1, size=64) for record in sample_records(sample, seed)]
        for seed in (0, 0, 1)
    )
    assert one == two and [record.answer for record in one] != [record.answer for record in other]


def test_every_figure_of_an_answer_stands_in_its_prompt(records):
    assert len(records) > 150
    for record in records:
        assert figures_outside(record.answer, record.prompt) == [], record


def test_ids_are_unique_and_sides_are_split_by_seed(records):
    assert len({record.id for record in records}) == len(records)
    for record in records:
        assert record.held_out == (int(record.site.removeprefix("synthetic-")) >= 9000)


def test_tasks_and_facts_of_a_record(records):
    assert {record.task for record in records} > {"attributes", "compact", "absent", "why", "objects", "neighbours"}
    for record in records:
        assert record.task in TASKS and json.loads(json.dumps(record.facts)) == record.facts and record.facts
        if "regions" in record.facts and record.facts["regions"] and record.task == "count":
            assert f"{record.facts['regions']:,} region" in record.answer


def test_the_paper_prompt_has_its_form(records):
    prompts = [record.prompt for record in records if record.task == "attributes"]
    first = re.compile(
        r"^Based on the provided image and the attributes of the (vegetation|building|water bodies|tree|bare soil) regions, please provide a "
        r"detailed description of them:\n\[\{'Size of area': '[a-z ]+', 'Centroid': \[\d\.\d{3}, \d\.\d{3}\], 'Location': '[a-z-]+', "
        r"'Bounding box': \[(\[-?\d\.\d{3}, -?\d\.\d{3}\](, )?){4}\]\}"
    )
    assert prompts and all(first.match(prompt) for prompt in prompts)
    assert all(prompt.count("'Centroid'") <= 10 for prompt in prompts)


def test_the_compact_prompt_is_the_one_that_serving_builds(records):
    sample = next(synthetic_samples(1, 1, size=96))
    for record in sample_records(sample, 0):
        if record.task == "compact":
            assert record.prompt == scene_record(sample.scene, record.land_cover, random.Random(0)).prompt


def test_every_kind_of_question_has_ten_wordings_or_more():
    for kind in QUESTION_KINDS:
        assert len(set(wordings(kind))) >= 10, kind


def test_no_gap_of_a_wording_is_left_open(records):
    assert not [record for record in records if re.search(r"\{\w*\}", record.prompt.split("Question:")[-1])
                and record.task not in ("attributes", "compact")]  # fmt: skip


def test_absence_is_stated_where_every_pixel_is_known_and_nowhere_else():
    dry = np.zeros((60, 60), np.uint8)
    assert all("no water" in answer.lower() for answer in answers(sample_of({"water": dry}), "absent"))
    assert len(answers(sample_of({"water": dry}), "absent")) == 40
    dry[5, 5] = 255
    assert answers(sample_of({"water": dry}), "absent") == []


def test_what_is_hardly_labelled_is_not_spoken_of():
    water = lake()
    water[20:, :] = 255
    assert {record.task for record in sample_records(sample_of({"water": water}), 0)} == {"compact"}


def test_unknown_labels_are_never_counted():
    water = lake()
    water[0:10, 0:20] = 255
    found = measure_cover(sample_of({"water": water}).scene, {"water": water}, "water")
    assert found is not None and found.pixels == 200 and found.share == pytest.approx(200 / 3400)
    assert all("of the labelled pixels" in answer for answer in answers(sample_of({"water": water}), "density"))


def test_without_a_pixel_size_no_area_is_stated():
    sample = sample_of({"water": lake()}, gsd_m=None)
    said = answers(sample, "area") + answers(sample, "attributes") + answers(sample, "where")
    assert said and not [text for text in said if re.search(r"\d (ha|m2)\b", text)]
    assert all("can't be told" in text for text in answers(sample, "cannot tell"))
    assert answers(sample, "cannot tell")


def test_known_figures_of_a_known_lake():
    sample = sample_of({"water": lake()})
    texts = answers(sample, "attributes")
    assert all("4.00 ha" in text and "11.1 %" in text and "1 region" in text for text in texts)
    assert all("top left" in text and "rectangular" in text and "huge" in text for text in texts)
    assert all("MNDWI averages 0.71 inside it and 0.00 outside" in text for text in texts)


def test_the_state_of_plants_needs_near_infrared_and_calibration():
    plants = lake()
    for options in ({"bands": ("red", "green", "blue")}, {"calibrated": False}):
        sample = sample_of({"vegetation": plants}, **options)
        assert answers(sample, "condition") == []
        refusals = [text for text in answers(sample, "cannot tell") if "no index" not in text]
        assert refusals and all("can't be told here" in text for text in refusals)
    assert answers(sample_of({"vegetation": plants}), "condition")


def test_the_index_speaks_against_a_label_that_it_does_not_show():
    sample = sample_of({"water": lake()})
    dull = replace(sample, scene=replace(sample.scene, reflectance=np.full_like(sample.scene.reflectance, 0.2)))
    assert all("does not tell water here" in text for text in answers(dull, "why"))
    assert all("since the mean of green" in text for text in answers(sample, "why"))


def test_an_index_is_not_explained_by_bands_that_say_the_opposite():
    sample = sample_of({"vegetation": lake()}, bands=("red", "green", "blue"), calibrated=False)
    values = np.full((3, 60, 60), 0.3, np.float32)
    values[:, 0:20, 0:20] = np.array([0.4, 0.38, 0.85], np.float32)[:, None, None]  # a bright blue roof, no VARI
    bluish = replace(sample, scene=as_stored(replace(sample.scene, reflectance=values)))
    assert "compact" in {record.task for record in sample_records(sample, 0)}
    for record in sample_records(bluish, 0):
        assert "green" not in record.answer or "VARI" not in record.answer, record


def test_a_mean_index_above_its_limit_does_not_yet_explain_it():
    """Dark leaves (VARI 0.5) beside bright red soil (-0.17): the mean is 0.17, and yet red exceeds green."""
    values = np.full((3, 60, 60), 0.3, np.float32)
    values[:, 0:10, 0:20] = np.array([0.1, 0.2, 0.1], np.float32)[:, None, None]
    values[:, 10:20, 0:20] = np.array([0.8, 0.6, 0.2], np.float32)[:, None, None]
    scene = replace(sample_of({"vegetation": lake()}, bands=("red", "green", "blue")).scene, reflectance=values)
    assert np.nanmean(compute_index(scene, "VARI")[lake() == 1]) > 0.1
    assert not index_explained(scene, "VARI", lake() == 1)
    values = np.where(values > 0.5, 0.3, values)
    assert index_explained(replace(scene, reflectance=values), "VARI", lake() == 1)


def test_neighbours_are_the_land_covers_along_the_rim_and_a_part_is_none_of_its_whole():
    water, trees = lake(), np.zeros((60, 60), np.uint8)
    trees[0:20, 20:30] = 1
    scene = sample_of({"water": water}).scene
    covers = {"water": water, "trees": trees, "vegetation": trees}
    assert neighbours(water == 1, covers, "water", scene) == {"trees": pytest.approx(20 / 41)}
    assert neighbours(trees == 1, covers, "trees", scene) == {"water": pytest.approx(20 / 52)}


def test_coarse_pixels_show_built_up_land_and_not_houses():
    town = sample_of({"buildings": lake()}, gsd_m=30.0)
    assert all("built-up" in text and "roof" not in text for text in answers(town, "objects"))
    near = sample_of({"buildings": lake()}, gsd_m=0.5)
    assert all("one huge rectangular roof in the top left" in text.lower() for text in answers(near, "objects"))
    assert answers(town, "objects") and answers(near, "objects")


def test_the_command_writes_a_folder_that_the_checker_finds_true(tmp_path, capsys):
    assert main(["--synthetic", "3", "--out", str(tmp_path), "--seed", "2"]) == 0
    records = read_records(tmp_path / "records.jsonl")
    assert f"{len(records)} records of 3 images" in capsys.readouterr().out
    tally = measure_records(tmp_path)["all"]
    assert tally.share == 1 and tally.statements > 5 * len({record.image for record in records}) and not tally.unread
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//|@import|url\(", page)
    assert (tmp_path / "records.js").read_text().startswith("window.RECORDS = ")
    for record in records:
        assert (tmp_path / "images" / f"{record.image}.png").is_file()
    assert f"{len(records)} records on 3 images" in (tmp_path / "datasheet.md").read_text()


def test_the_checker_finds_what_was_changed_in_a_record(tmp_path):
    main(["--synthetic", "1", "--out", str(tmp_path)])
    path = tmp_path / "records.jsonl"
    lines = path.read_text().splitlines()
    spoilt, changes = [], 0
    for line in lines:
        record = json.loads(line)
        counted = r"\b(\d+) regions?\b"
        changes += len(re.findall(counted, record["answer"]))
        record["answer"] = re.sub(counted, lambda match: f"{int(match[1]) + 1} regions", record["answer"])
        spoilt.append(json.dumps(record))
    path.write_text("\n".join(spoilt) + "\n")
    tally = measure_records(tmp_path)["all"]
    assert len([line for line in tally.wrong if "[count]" in line]) == changes > 0


def test_a_pair_of_ones_own_gives_records_and_opens_in_the_chat(tmp_path):
    image, labels, out = tmp_path / "image.tif", tmp_path / "labels.tif", tmp_path / "out"
    sample = sample_of({"water": lake()})
    grid = {"driver": "GTiff", "height": 60, "width": 60}
    with rasterio.open(image, "w", count=4, dtype="uint16", **grid) as dataset:
        dataset.write(np.rint(sample.scene.reflectance * 10_000).astype(np.uint16))
        dataset.descriptions, dataset.scales = sample.scene.bands, [1e-4] * 4
        dataset.update_tags(GSD_M="10")
    with rasterio.open(labels, "w", count=1, dtype="uint8", **grid) as dataset:
        dataset.write(lake()[None])
        dataset.descriptions = ("Water",)
    assert main(["--pair", str(image), str(labels), "--out", str(out)]) == 0
    assert {record.land_cover for record in read_records(out / "records.jsonl") if record.task != "compact"} == {
        "water"
    }
    scene = open_scene(out / "scenes" / "image.tif")
    assert scene.bands == sample.scene.bands and scene.calibrated and scene.gsd_m == 10


def test_labels_that_do_not_fit_are_named(tmp_path, capsys):
    image = tmp_path / "image.tif"
    with rasterio.open(image, "w", driver="GTiff", count=3, dtype="uint8", height=8, width=8) as dataset:
        dataset.write(np.full((3, 8, 8), 90, np.uint8))
    with pytest.raises(SceneError, match="named after a land cover"):
        pair_sample(image, image)
    assert main(["--pair", str(image), str(image), "--out", str(tmp_path / "out")]) == 1
    assert "named after a land cover" in capsys.readouterr().err
    assert main(["--imagery", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
