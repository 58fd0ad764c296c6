"""A conversation without a model, and a small image, for the tests of the page."""

import threading
import time

import numpy as np
import rasterio

from chat_app.acting.refine import refine
from chat_app.answering.facts import layer_facts
from chat_app.memory.marks import NO_MARKS
from chat_app.memory.turns import LayerReady, TextDelta, Turn, TurnDone
from chat_app.page.turn_thread import RunningTurn
from chat_app.plan import Plan
from chat_app.steps import DropClicked
from spex_model.serving.protocol import Health


def write_image(path):
    """Four bands of noise on a grid of 32 x 48 pixels of 10 m."""
    values = np.random.default_rng(3).integers(200, 4000, (4, 32, 48)).astype(np.uint16)
    options = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 400_000, 0, -10, 5_000_000)}
    with rasterio.open(path, "w", driver="GTiff", width=48, height=32, count=4, dtype="uint16", **options) as dataset:
        dataset.write(values)
        for number, name in enumerate(("blue", "green", "red", "nir"), start=1):
            dataset.set_band_description(number, name)
    return path


class FakeRuntime:
    name = "embedded"

    def __init__(self):
        self.health = Health(True, "The model runs inside the chat.")

    def describe_health(self):
        return self.health


class FakeConversation:
    """Answers "water" with the upper left quarter, "remove this one" with a step, and fails on "break"."""

    def __init__(self, settings, store):
        self.store, self.runtime = store, FakeRuntime()
        self.gate = threading.Event()
        self.gate.set()

    def close(self):
        self.runtime = None

    def start_turn(self, session_id, message, *, marks=NO_MARKS):
        def work(emit, stop):
            for event in self._turn(session_id, message, marks=marks):
                emit(event)

        return RunningTurn("fake", work)

    def _turn(self, session_id, message, *, marks=NO_MARKS):
        session = self.store.open(session_id)
        with session.lock:
            if message == "break":
                raise RuntimeError("a fault of ours")
            plan, options = None, ()
            if "water" in message:
                yield TextDelta("Water lies ")
                time.sleep(0.1)
                yield TextDelta("in the north-west.")
                layer_id = self._extract(session)
                yield LayerReady(layer_id)
            elif message == "remove this one":
                plan = Plan(intent="refine", steps=(DropClicked(points=marks.points),))
                with session.change("drop"):
                    layer = session.active_layer
                    session.replace_extraction(layer, refine(session.extraction(layer), plan.steps, session))
            elif message == "wait":
                self.gate.wait(10)
            elif message == "which?":
                options = ("the lake", "the river")
            facts = layer_facts(session, session.active_layer) if session.active_layer else {}
            turn = Turn(
                len(session.turns) + 1, message, f"done: {message}", plan, "rules", facts=facts, options=options
            )
            session.close_turn(turn)
            self.store.save(session)
        yield TurnDone(turn)

    def _extract(self, session):
        mask = np.zeros(session.scene.shape, bool)
        mask[:8, :8] = True
        with session.change("extract water"):
            made = session.make_extraction(mask, land_cover="water", method="index", threshold=0.0)
            return session.add_layer(made).id
