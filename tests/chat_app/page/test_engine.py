"""How the page waits for its model."""

import threading
import time

import pytest

from chat_app.memory.marks import NO_MARKS
from chat_app.page.engine import Engine
from chat_app.page.examples import ExampleImages
from chat_app.page.handlers import Page
from chat_app.page.view import BrowserRecord
from chat_app.settings import Settings
from spex_model.serving.errors import RuntimeUnavailable
from spex_model.serving.protocol import Health
from tests.chat_app.page.page_fakes import FakeConversation, write_image


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path / "field.tif")


def test_the_model_may_come_later_and_the_message_waits(image, tmp_path):
    loaded = threading.Event()

    def load(settings, store):
        loaded.wait(10)
        return FakeConversation(settings, store)

    engine = Engine(Settings(data_dir=tmp_path / "data"), load=load)
    engine.start()
    page = Page(engine, ExampleImages(tmp_path / "none"))
    opened = page.open_image(BrowserRecord(), image)
    assert engine.status().state == "starting"
    views = page.send(opened.browser, "water", "natural", NO_MARKS)
    next(views)
    assert "The model is starting" in next(views).messages[-1].text
    loaded.set()
    assert list(views)[-1].messages[-1].text == "done: water"
    assert engine.status().state == "ready" and "inside the chat" in engine.status().text


def test_a_model_that_fails_to_load_is_tried_again(image, tmp_path):
    tries, repaired = [], threading.Event()

    def load(settings, store):
        tries.append(1)
        if not repaired.is_set():
            raise RuntimeUnavailable("The model can't be loaded: no weights.")
        return FakeConversation(settings, store)

    engine = Engine(Settings(data_dir=tmp_path / "data"), load=load, retry_seconds=0.05)
    engine.start()
    while not engine.problem:
        time.sleep(0.01)
    assert engine.status().state == "down" and "no weights" in engine.status().text
    page = Page(engine, ExampleImages(tmp_path / "none"))
    opened = page.open_image(BrowserRecord(), image)
    last = list(page.send(opened.browser, "water", "natural", NO_MARKS))[-1]
    assert "session is safe" in last.messages[-1].text and last.typed == "water" and last.busy is False
    repaired.set()
    assert engine.wait(10) and engine.status().state == "ready" and len(tries) >= 2
    assert list(page.send(opened.browser, "water", "natural", NO_MARKS))[-1].messages[-1].text == "done: water"


def test_the_status_follows_the_runtime(tmp_path):
    engine = Engine(Settings(data_dir=tmp_path / "data"), load=FakeConversation)
    engine.start()
    assert engine.wait(10)
    engine.conversation.runtime.health = Health(False, "vLLM is starting again.")
    status = engine.status()
    assert status.state == "down" and "session is safe" in status.text
