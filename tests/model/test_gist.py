"""The gist of messages: what it sees, that the shipped weights tell plain wishes, and that training learns at all."""

import json

import pytest

from spex_model.model.gist import Gist, grams, sketch_of
from spex_model.training.plan_data import plan_examples
from spex_model.training.train_gist import save_gist, train_gist


@pytest.fixture(scope="module")
def gist() -> Gist:
    return Gist.load()


@pytest.mark.parametrize(
    ("message", "layers", "last", "sketch"),
    [
        ("could you take that last change back please?", "water* 3", "refine smooth", "undo"),
        ("wie groß ist der See eigentlich?", "water* 3", "extract water", "measure area"),
        ("où est le plus grand lac exactement ?", "water* 3", "extract water", "locate"),
        ("把森林标出来", "none", "none", "extract"),
        ("throw out everything smaller than 0.7 hectares", "water* 12", "extract water", "refine drop_smaller"),
        ("why on earth do you believe that this is water?", "water* 12", "extract water", "explain"),
    ],
)
def test_plain_wishes_are_told(gist, message, layers, last, sketch):
    told = gist.read(message, layers, last)
    assert max(told, key=told.__getitem__) == sketch
    assert sum(told.values()) == pytest.approx(1)


def test_a_message_of_nothing_is_no_error(gist):
    assert sum(gist.read("", "none", "none").values()) == pytest.approx(1)


def test_which_cover_number_or_layer_is_named_makes_no_difference():
    one = grams("drop the lakes under 12.5 ha near my ponds", "my ponds* 3", "extract water")
    other = grams("drop the forest under 300 ha near old barns", "old barns* 3", "extract water")
    assert one == other
    assert one != grams("drop the lakes under 12.5 ha near my ponds", "my ponds* 3", "undo")


def test_a_sketch_holds_intent_and_steps_alone():
    plan = {"intent": "refine", "target": "water", "steps": [{"op": "smooth"}, {"op": "grow", "value": 3, "unit": "m"}]}
    assert sketch_of(plan) == "refine grow smooth"
    assert sketch_of({"intent": "measure", "unit": "ha"}) == "measure area"
    assert sketch_of({"intent": "extract", "land_covers": ["water"]}) == "extract"


def test_training_learns_lessons_and_what_is_written_reads_the_same(tmp_path):
    examples = list(plan_examples(1, 600))
    trained = train_gist(examples, epochs=5, seed=0)
    save_gist(trained, tmp_path / "gist.safetensors")
    again = Gist.load(tmp_path / "gist.safetensors")
    right = 0
    for one in examples:
        told = again.read(one.message, one.layers, one.last)
        assert told == trained.read(one.message, one.layers, one.last)
        right += max(told, key=told.__getitem__) == sketch_of(json.loads(one.plan_json))
    assert right > 400
