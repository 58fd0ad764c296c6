"""The format of written dialogues, what they expect, and their evaluation with clicks and drawings."""

from textwrap import indent

import pytest

from chat_app.measuring.dialogues import DialogueTurn, Expected, broken_expectations, load_dialogues, masks_of
from chat_app.measuring.evaluate import evaluate_dialogues, remembering
from chat_app.memory.turns import Turn

WATER = "{say: show me the water, means: {intent: extract, land_covers: [water]}, expect: {mask: found}}"
LAKE, OTHER_LAKE = "[0.25, 0.28]", "[0.3, 0.75]"


def write(folder, *turns, scene="lakes"):
    lines = "\n".join(f"- {turn}" for turn in turns)
    text = f"dialogues:\n  - name: told\n    scene: {scene}\n    turns:\n{indent(lines, '      ')}\n"
    folder.mkdir(exist_ok=True)
    (folder / "told.yaml").write_text(text, encoding="utf-8")
    return folder


def one_turn(**values):
    return DialogueTurn.model_validate({"say": "this", "means": {"intent": "help"}, **values})


def test_marks_are_shares_of_the_scene():
    marks = one_turn(clicks=[[0, 0], [0.5, 0.25], [1, 1]], box=[0.1, 0.8, 0.6, 0.2]).marks((100, 200))
    assert marks.points == ((0, 0), (50, 50), (99, 199))
    assert {round(row) for row, _ in marks.area} == {10, 60} and {round(col) for _, col in marks.area} == {40, 160}
    assert one_turn(polygon=[[0, 0], [0, 1], [0.5, 0.5]]).marks((10, 20)).area == ((0, 0), (0, 20), (5, 10))
    assert not one_turn().marks((10, 20))


@pytest.mark.parametrize(
    ("turn", "problem"),
    [
        ("{say: a, means: {intent: help}, expect: {maks: found}}", "turn 1: expect.maks: Extra inputs"),
        ("{say: a, means: {intent: help}, expect: {mask: full}}", "expect.mask: .*'found', 'empty'"),
        ("{say: a, means: {intent: help}, expect: {regions: {least: 2}}}", "expect.regions"),
        ("{say: a, means: {intent: help}, expect: {reply_has: ha}}", "expect.reply_has"),
        ("{say: a, means: {intent: help}, click: [[0.1, 0.2]]}", "turn 1: click: Extra inputs"),
        ("{say: a, means: {intent: help}, clicks: [[10, 20]]}", "clicks.0.0: .*less than or equal to 1"),
        ("{say: a, means: {intent: help}, clicks: [0.1, 0.2]}", "clicks.0"),
        ("{say: a, means: {intent: help}, box: [0.1, 0.2, 0.3]}", "box"),
        ("{say: a, means: {intent: help}, polygon: [[0, 0], [1, 1]]}", "polygon: .*at least 3"),
        (
            "{say: a, means: {intent: help}, box: [0, 0, 1, 1], polygon: [[0, 0], [0, 1], [1, 1]]}",
            "a box or a polygon, not both",
        ),
        ("{say: a, means: []}", "means"),
        ("{say: a, means: {intent: fly}}", "means.0.intent"),
    ],
)
def test_what_a_dialogue_may_not_hold_is_refused_with_its_place(tmp_path, turn, problem):
    with pytest.raises(ValueError, match=rf"told\.yaml, told, .*{problem}"):
        load_dialogues(write(tmp_path / "bad", turn))


def test_one_question_under_two_schemas_is_two_questions(runtime):
    runtime.plans = ["one", "other"]
    asked = remembering(runtime)
    said = [asked.generate(None, "plan", max_tokens=9, json_schema={"const": key}).read() for key in "aba"]
    assert [text.strip() for text in said] == ["one", "other", "one"]


def test_a_dialogue_in_a_held_out_folder_is_held_out(tmp_path):
    [seen] = load_dialogues(write(tmp_path / "seen", WATER))
    [held_out] = load_dialogues(write(tmp_path / "held_out", WATER))
    assert (seen.held_out, held_out.held_out) == (False, True) and seen.turns[0].means[0].land_covers == ("water",)


def turn(**values):
    return Turn(1, "m", values.pop("reply", "Done."), None, "rules", **values)


def problems(session, given=None, *, before=None, **expected):
    return list(broken_expectations(Expected.model_validate(expected), given or turn(), session, before or {}))


def test_without_a_layer_only_what_speaks_of_none_holds(session):
    assert problems(session, active=None, layers=[]) == []
    assert problems(session, active="water") == ["active is None, expected water"]
    assert problems(session, layers=["water"]) == ["layers are [], expected ['water']"]
    for mask in ("found", "empty"):
        assert problems(session, mask=mask) == [f"the mask is same, expected {mask}"]
    assert problems(session, regions={"min": 0}) and problems(session, regions=0)


def test_masks_and_regions_are_those_of_the_active_layer(conversation, session):
    list(conversation.run_turn(session.id, "show me the water"))
    count = len(session.regions("water"))
    assert problems(session, mask="found", regions=count, active="water", layers=["water"]) == []
    assert problems(session, mask="empty") == ["the mask is found, expected empty"]
    assert problems(session, active=None) == ["active is water, expected None"]
    assert problems(session, regions={"min": count, "max": count}) == []
    assert problems(session, regions={"min": count + 1}) and problems(session, regions={"max": count - 1})
    list(conversation.run_turn(session.id, "drop anything under 90 %"))
    assert problems(session, mask="empty", regions=0) == []
    assert problems(session, mask="found") == ["the mask is empty, expected found"]


def test_a_mask_is_compared_with_the_one_before(conversation, session):
    list(conversation.run_turn(session.id, "show me the water"))
    all_of_it = masks_of(session)
    list(conversation.run_turn(session.id, "only the biggest one"))
    biggest = masks_of(session)
    assert (
        problems(session, before=all_of_it, mask="subset") == problems(session, before=all_of_it, mask="changed") == []
    )
    assert problems(session, before=all_of_it, mask="superset") == [
        "the mask is changed and found and subset, expected superset"
    ]
    assert problems(session, before=all_of_it, mask="same")
    list(conversation.run_turn(session.id, "undo"))
    assert problems(session, before=biggest, mask="superset") == [] and problems(session, before=biggest, mask="subset")
    assert problems(session, before=all_of_it, mask="same") == problems(session, mask="any") == []


def test_errors_questions_and_words_are_held_to_what_is_expected(session):
    assert problems(session, turn(error="no"), layers=[]) == ["an error: no"]
    assert problems(session, turn(error="no"), error=True) == []
    assert problems(session, error=True) == ["no error, expected one"]
    assert (
        problems(session, asks=True) == ["no question back"]
        and problems(session, turn(options=("a",)), asks=True) == []
    )
    assert problems(session, turn(options=("a",)), asks=False) and problems(session, asks=False) == []
    assert problems(session, turn(reply="5 Ha of it"), reply_has=["ha", "acres"]) == ["the reply lacks 'acres'"]


def test_clicks_and_drawings_reach_the_turns_of_an_evaluation(tmp_path, settings, runtime):
    """Right by the rules alone where the marks count; what is read as another step is judged by its outcome."""
    runtime.obedient = True
    folder = write(
        tmp_path / "dialogues",
        WATER,
        f"{{say: keep only this one, clicks: [{LAKE}], means: {{intent: refine, steps: [{{op: keep_clicked}}]}}, expect: {{regions: 1}}}}",
        f"{{say: add this, clicks: [{OTHER_LAKE}], means: {{intent: refine, steps: [{{op: add_here}}]}}, expect: {{regions: 2}}}}",
        "{say: only inside the box, box: [0, 0, 1, 0.5], means: {intent: refine, steps: [{op: keep_inside}]}, expect: {regions: 1}}",
        f"{{say: remove this one, clicks: [{LAKE}], means: {{intent: refine, steps: [{{op: keep_clicked}}]}}}}",
        "{say: only inside the box, box: [0.6, 0.9, 0.9, 1], means: {intent: refine, steps: [{op: keep_inside}]}, expect: {mask: found}}",
    )
    report = evaluate_dialogues(runtime, folder, settings, readers=("rules",))
    assert "| rules alone | 83.3% (5/6) |" in report, report
    assert report.count("told/") == 2, report
    assert "told/5 [rules] 'remove this one'" in report
    assert "told/6 'only inside the box': the mask is changed and empty and subset, expected found" in report
    assert [(round(row), round(column), positive) for row, column, positive in runtime.clicks[-1]] == [(153, 384, True)]


def test_without_their_marks_such_turns_fail(tmp_path, settings, runtime):
    report = evaluate_dialogues(
        runtime,
        write(tmp_path / "dialogues", WATER, "{say: add this, means: {intent: refine, steps: [{op: add_here}]}}"),
        settings,
        readers=("rules",),
    )
    assert "told/2 'add this': an error: Click on a region in the picture first" in report
