"""The benchmark: its users on the real graph, its figures from known calls, its report."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from chat_app.__main__ import main
from chat_app.graph import Conversation
from chat_app.measuring import bench
from chat_app.measuring.bench_report import busy_seconds, check, figures_of, percentiles, plot, table
from chat_app.measuring.bench_users import MESSAGES, Call, Log, MeasuredRuntime, describe, talk, write_images
from chat_app.memory.store import SessionStore
from spex_model.imaging.reading import open_scene
from spex_model.serving.errors import StartupError
from tests.chat_app.conftest import PaintingRuntime


@pytest.fixture
def images(scene_file, tmp_path):
    return write_images(scene_file, tmp_path, 3)


def test_every_user_has_an_image_of_the_same_kind_with_other_pixels(images, scene_file):
    source, scenes = open_scene(scene_file), [open_scene(path) for path in images]
    assert scenes[0].id == source.id and len({scene.id for scene in scenes}) == 3
    for scene in scenes:
        assert (scene.bands, scene.gsd_m, scene.crs, scene.shape) == (
            source.bands,
            source.gsd_m,
            source.crs,
            source.shape,
        )


def test_users_talk_to_the_real_graph_side_by_side(images, settings):
    log, painting = Log(), PaintingRuntime()
    chat = settings.model_copy(update={"use_model_planner": False})
    conversation = Conversation(chat, MeasuredRuntime(painting, log), SessionStore(chat))
    talk(conversation, images, 2, 0.0, log)
    conversation.close()
    assert len(log.turn_s) == 6 and not log.errors
    assert len(log.first_text_s) == 3 and len(log.mask_s) == 3  # the extraction of each user
    assert len(log.calls) == 3 and all(call.about_image and call.tokens == 5 for call in log.calls)
    assert all(call.started < call.first_token <= call.ended for call in log.calls)
    # The fake names the states of one prompt alike, whoever asked.
    assert any(call.ended < call.painted for call in log.calls)


def test_what_goes_wrong_is_counted_and_the_others_go_on(images, settings):
    log, painting = Log(), PaintingRuntime()
    conversation = Conversation(settings, MeasuredRuntime(painting, log), SessionStore(settings))
    images[1].unlink()
    talk(conversation, images, 1, 0.0, log)
    conversation.close()
    assert len(log.turn_s) == 2 and len(log.errors) == 1 and "no file user-1.tif" in log.errors[0]


def test_descriptions_are_asked_for_side_by_side_and_again(images, settings):
    log, painting = Log(), PaintingRuntime()
    describe(MeasuredRuntime(painting, log), [open_scene(path) for path in images], 2, settings, log)
    assert len(log.calls) == 3 * 3 * 2 and len(set(painting.prompts)) >= 3 and not log.errors


def test_time_is_counted_once_however_many_answers_are_written():
    calls = [Call(True, 0, 1, 4, 10), Call(True, 2, 3, 6, 10), Call(True, 9, 9, 10, 10)]
    assert busy_seconds(calls) == 7
    figures = figures_of(Log(calls=calls), Log(calls=calls[:1], seconds=20, turn_s=[1.0], errors=["no"]))
    assert figures["tokens_per_s"] == round(30 / 7, 1) and figures["session_tokens_per_s"] == 0.5
    assert figures["time_to_first_token_s"] == 1 and figures["errors"] == 1 and figures["time_to_mask_s"] is None


def test_percentiles_of_nothing_are_unknown():
    assert set(percentiles("mask", []).values()) == {None}
    assert percentiles("mask", [1, 2, 3])["mask_s"] == 2


def figures(rate: float, first: float, **more) -> dict:
    return {
        "tokens_per_s": rate, "time_to_first_token_s": first, "time_to_first_token_p95_s": first, "errors": 0,
        "mask_after_last_token_s": 0.1, **more,
    }  # fmt: skip


def test_requirements_are_checked_where_they_were_measured():
    report = {
        "served": {"1": figures(55, 0.05), "8": figures(300, 0.2, prefix_hit_rate_follow_up=0.8, errors=1)},
        "embedded": {"1": figures(20, 0.1)},
        "transformers": {"1": figures(20.6, 0.1)},
    }
    held = {one["what"]: one["holds"] for one in check(report)}
    assert held.pop("95th percentile of the time to first token, 8 users over one") is False
    assert held.pop("errors in 0 turns, served, 8 users") is False
    assert len(held) == 9 and all(held.values())
    assert len(check({"embedded": report["embedded"]})) == 1


def test_the_table_and_the_plot_show_every_row():
    report = {"served": {"1": figures(55, 0.05, time_to_mask_s=None)}, "embedded": {"1": figures(20, 0.1)}}
    assert "| served, 1 | 55 |" in table(report) and "| embedded, 1 | 20 |" in table(report)
    texts = [node.text for node in ElementTree.fromstring(plot(report)).iter() if node.tag.endswith("text")]
    assert texts.count("served, 1") == 3 and "55" in texts


def test_where_vllm_is_not_installed_the_rest_is_reported(scene_file, monkeypatch, capsys, tmp_path):
    def refuse(plan, users):
        raise StartupError("vLLM isn't installed.")

    monkeypatch.setattr(bench, "_measure_served", refuse)
    monkeypatch.setattr(bench, "_in_a_process", lambda measure, plan: figures(20, 0.1))
    command = ["bench", "--image", str(scene_file), "--json", "--plot", str(tmp_path / "plot.svg")]
    assert main(command) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "served" not in printed and printed["notes"] == ["served: not measured. vLLM isn't installed."]
    assert printed["embedded"]["1"]["tokens_per_s"] == printed["transformers"]["1"]["tokens_per_s"] == 20
    assert (tmp_path / "plot.svg").exists()


@pytest.mark.slow
def test_all_messages_of_a_round_are_answered_by_the_real_model(tmp_path):
    """The embedded runtime, in a process of its own as the benchmark runs it."""
    images = tuple(write_images(bench.EXAMPLE, tmp_path, 1))
    settings = bench.Settings(max_answer_tokens=20)
    found = bench._in_a_process(bench.measure_embedded, bench.Plan(settings, images, len(MESSAGES), 0.0))
    assert found["errors"] == 0, found["error_texts"]
    assert found["turns"] == len(MESSAGES) and found["tokens_per_s"] > 0 and found["memory_mb"] > 500
