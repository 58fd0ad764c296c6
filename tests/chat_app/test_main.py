"""The command line: one JSON object a turn on standard output, one sentence on standard error for a bad image."""

import json

import numpy as np
import pytest
import rasterio

import chat_app.__main__ as command_line
from chat_app.__main__ import BAD_IMAGE, main


@pytest.fixture
def painted(monkeypatch, runtime):
    monkeypatch.setattr(command_line, "load_runtime", lambda *_, **__: runtime)


def test_each_turn_is_one_json_object(painted, scene_file, tmp_path, capsys):
    code = main(
        [
            "ask",
            str(scene_file),
            "show me the water",
            "only the biggest lake",
            "",
            "how big is it?",
            "--json",
            "--out",
            str(tmp_path),
        ]
    )
    turns = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0 and [turn["turn"] for turn in turns] == [1, 2, 3, 4]
    assert turns[2]["error"] and turns[3]["error"] is None
    for turn in (turns[0], turns[1], turns[3]):
        [layer] = turn["layers"]
        with rasterio.open(layer["mask"]) as mask:
            assert int((mask.read(1) == 1).sum()) == layer["pixels"]
        assert layer["share"] == pytest.approx(layer["pixels"] / 160**2)
        assert layer["area_m2"] == pytest.approx(layer["pixels"] * 100, rel=3e-3)
        assert turn["active_layer"] == layer["id"] and layer["land_cover"] == "water"
    assert turns[1]["layers"][0]["regions"] == 1 and turns[1]["plan"]["steps"] == [{"op": "keep_largest", "count": 1}]


def test_a_bad_image_ends_with_code_2_and_one_sentence(painted, tmp_path, capsys):
    (tmp_path / "notes.tif").write_text("these are notes")
    assert main(["ask", str(tmp_path / "notes.tif"), "show me the water", "--json"]) == BAD_IMAGE
    captured = capsys.readouterr()
    assert captured.out == "" and "notes.tif" in captured.err and "Traceback" not in captured.err


def test_options_say_what_the_file_does_not(painted, tmp_path, capsys):
    with rasterio.open(
        tmp_path / "raw.tif", "w", driver="GTiff", width=40, height=40, count=4, dtype="int16"
    ) as dataset:
        dataset.write(np.random.default_rng(0).integers(100, 4000, (4, 40, 40)).astype("int16"))
    main(["ask", str(tmp_path / "raw.tif"), "show me the vegetation", "--json", "--bands", "blue,green,red,nir", "--scale", "0.0001", "--offset", "0", "--gsd", "10", "--out", str(tmp_path / "o")])  # fmt: skip
    turn = json.loads(capsys.readouterr().out)
    assert turn["layers"][0]["area_m2"] == turn["layers"][0]["pixels"] * 100
    assert "10 m" in " ".join(turn["facts"]["assumptions"])


def test_clicks_and_boxes_come_by_options(painted, scene_file, tmp_path, capsys):
    main(["ask", str(scene_file), "show me the water in the box", "how many pixels is it?", "--json", "--box", "0,0,80,160", "--out", str(tmp_path / "o"), "--folder", str(tmp_path / "all")])  # fmt: skip
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    with rasterio.open(second["layers"][0]["mask"]) as mask:
        values = mask.read(1)
    assert values[:80].any() and not values[80:].any() and first["plan"]["steps"][0]["polygon"][2] == [80, 160]
    assert (tmp_path / "all" / "transcript.md").is_file() and (tmp_path / "all" / "layers" / "01-water.tif").is_file()
    assert main(["ask", str(scene_file), "add this", "--click", "3;4"]) == 1
    assert "--click takes ROW,COLUMN" in capsys.readouterr().err


def test_two_images_are_compared(painted, scene_file, tmp_path, capsys):
    with rasterio.open(scene_file) as dataset:
        values, profile, names, scales = dataset.read(), dataset.profile, dataset.descriptions, dataset.scales
    with rasterio.open(tmp_path / "later.tif", "w", **profile) as dataset:
        dataset.write(values[:, ::-1])
        dataset.scales = scales
        for number, name in enumerate(names, start=1):
            dataset.set_band_description(number, name)
    command = ["compare", str(scene_file), str(tmp_path / "later.tif"), "show me the water", "drop anything under 1 ha"]
    assert main([*command, "--json", "--out", str(tmp_path / "o")]) == 0
    record = json.loads(capsys.readouterr().out)
    change, files = record["change"], record["files"]
    with rasterio.open(files["change"]) as dataset:
        classes = dataset.read(1)
        assert dataset.crs.to_epsg() == profile["crs"].to_epsg() and "2 gained" in dataset.tags()["CLASSES"]
    for number, name in ((1, "kept"), (2, "gained"), (3, "lost")):
        assert int((classes == number).sum()) == change[name]["pixels"]
    assert change["gained"]["pixels"] == change["lost"]["pixels"] > 0  # the image stands on its head
    assert (tmp_path / "o" / "water-change.png").is_file() and "Gained" in record["reply"] and record["error"] is None
    (tmp_path / "bad.tif").write_text("no image")
    assert main(["compare", str(scene_file), str(tmp_path / "bad.tif"), "show me the water"]) == BAD_IMAGE
    assert main(["compare", str(scene_file), str(tmp_path / "later.tif"), "hello", "--json"]) == 1
    assert "no layer yet" in json.loads(capsys.readouterr().out)["error"]
