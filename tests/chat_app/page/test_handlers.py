"""What the page does, without a browser and without a model."""

import re
import threading
import time
import zipfile

import numpy as np
import pytest

from chat_app.memory.marks import NO_MARKS, Marks
from chat_app.memory.pending import INTERRUPTED
from chat_app.page.engine import Engine
from chat_app.page.examples import ExampleImages
from chat_app.page.handlers import BUSY_HINT, EMPTY_HINT, NO_IMAGE_HINT, WHAT_CHANGED, WORKING, Page
from chat_app.page.markup import Chip, about_html, chips_html, legend_html, sessions_html
from chat_app.page.view import BrowserRecord
from chat_app.settings import Settings
from tests.chat_app.page.page_fakes import FakeConversation, write_image

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path / "field.tif")


@pytest.fixture
def engine(tmp_path):
    engine = Engine(Settings(data_dir=tmp_path / "data", request_timeout_s=5), load=FakeConversation)
    engine.start()
    assert engine.wait(5)
    yield engine
    engine.close()


@pytest.fixture
def page(engine, tmp_path):
    return Page(engine, ExampleImages(tmp_path / "none"))


@pytest.fixture
def opened(page, image):
    return page.open_image(BrowserRecord(), image)


def say(page, view, text, marks=NO_MARKS):
    return list(page.send(view.browser, text, "natural", marks))


def test_opening_an_image_says_what_it_is_and_what_was_assumed(opened):
    assert opened.open_image and opened.title == "field.tif" and opened.composites == ("natural", "false colour")
    greeting = opened.messages[0].text
    assert "48 × 32 pixels" in greeting and "EPSG:32633" in greeting and "pixels of 10 m" in greeting
    assert all(note in greeting for note in opened.scene.assumptions)
    assert opened.base.startswith("data:image/jpeg;base64,") and opened.picture.covered == (32, 48)
    assert opened.browser.known == (opened.browser.current,)
    assert Chip("show me the water") in opened.chips


def test_a_bad_image_gives_one_sentence_and_changes_nothing_else(page, tmp_path):
    fake = tmp_path / "notes.tif"
    fake.write_text("not an image")
    view = page.open_image(BrowserRecord(), fake)
    assert view.notice.startswith("notes.tif") and "Traceback" not in view.notice
    assert view.open_image is None and view.browser is None


def test_a_message_streams_text_then_the_layer_then_the_whole_page(page, opened):
    views = say(page, opened, "show me the water")
    assert views[0].typed == "" and views[0].busy is True
    assert [said.text for said in views[0].messages[-2:]] == ["show me the water", WORKING]
    texts = [view.messages[-1].text for view in views[1:-1] if view.messages]
    assert texts == ["Water lies  …", "Water lies in the north-west. …"]
    assert any(view.picture and view.legend and not view.messages for view in views)
    last = views[-1]
    assert last.messages[-1].text == "done: show me the water" and last.busy is False
    (water,) = last.legend
    assert (water.name, water.regions) == ("water", "1 region") and re.fullmatch(r"6,[34]\d\d m²", water.size)
    assert last.picture.overlay and last.picture.outlines[0].path
    assert Chip("undo") in last.chips and last.download_name == "water"


def test_options_of_a_question_become_chips(page, opened):
    assert say(page, opened, "which?")[-1].chips == (Chip("the lake"), Chip("the river"))


def test_an_empty_message_only_hints(page, opened):
    assert [view.hint for view in say(page, opened, "  \n")] == [EMPTY_HINT]
    assert page.load(opened.browser).messages == opened.messages


def test_without_an_image_the_words_stay_in_the_box(page):
    (view,) = page.send(BrowserRecord(), "show me the water", "natural", NO_MARKS)
    assert (view.hint, view.typed) == (NO_IMAGE_HINT, "show me the water")


def test_an_error_of_ours_loses_nothing(page, opened):
    last = say(page, opened, "break")[-1]
    assert last.typed == "break" and last.busy is False and "Nothing is lost" in last.messages[-1].text
    assert say(page, opened, "show me the water")[-1].legend


def test_a_message_that_was_cut_off_stands_in_the_conversation_when_the_page_comes_back(page, opened, engine, tmp_path):
    say(page, opened, "show me the water")
    folder = engine.settings.data_dir / "sessions" / opened.browser.current
    (folder / "pending-1.json").write_text('{"message": "now the trees", "began": 1.0}')
    after_restart = Page(Engine(engine.settings, load=FakeConversation), ExampleImages(tmp_path / "none"))
    view = after_restart.load(opened.browser)
    assert [said.text for said in view.messages[-2:]] == ["now the trees", INTERRUPTED]
    assert [entry.name for entry in view.legend] == ["water"] and view.busy is False


def test_a_click_marks_a_pixel_and_the_message_uses_it_up(page, opened):
    say(page, opened, "water")
    view = page.click(opened.browser, (0.05, 0.05), NO_MARKS, add=False)
    assert view.marks.points == ((1, 2),) == view.picture.points
    assert "Row 1, column 2" in view.click_text and "in water" in view.click_text and "NDVI" in view.click_text
    assert Chip("remove this one") in view.chips
    more = page.click(opened.browser, (0.99, 0.99), view.marks, add=True)
    assert more.marks.points == ((1, 2), (31, 47))
    last = say(page, opened, "remove this one", view.marks)[-1]
    assert not last.marks and last.legend[0].size == "nothing found"
    assert say(page, opened, "hello", view.marks)[-1].marks == view.marks
    assert page.clear_marks(opened.browser).marks == NO_MARKS


def test_a_click_in_add_mode_is_said_and_done_at_once(page, opened):
    assert "no layer" in next(page.correct(opened.browser, (0.05, 0.05), "add", "natural")).hint
    say(page, opened, "water")
    *_, last = page.correct(opened.browser, (0.9, 0.9), "add", "natural")
    assert last.messages[-2].text == "add this" and last.typed is None
    assert list(page.correct(opened.browser, (2.0, 0.5), "add", "natural")) == []


def test_a_drawn_box_is_measured_and_can_be_spoken_of(page, opened):
    say(page, opened, "water")
    view = page.draw(opened.browser, [(0.0, 0.0), (0.25, 0.0), (0.25, 0.25), (0.0, 0.25)])
    assert view.marks == Marks(area=((0.0, 0.0), (0.0, 12.0), (8.0, 12.0), (8.0, 0.0))) and view.picture.area
    assert re.match(r"Drawn: 9,[56]\d\d m² · water in it: 6,[34]\d\d m²", view.click_text)
    assert Chip("only inside the box") in view.chips
    assert "larger" in page.draw(opened.browser, [(0.1, 0.1), (0.101, 0.1), (0.101, 0.101)]).hint
    assert "Draw" in page.draw(opened.browser, [(0.1, 0.1)]).hint


def test_a_click_in_another_layer_makes_it_it(page, opened):
    say(page, opened, "water")
    session = page._store.open(opened.browser.current)
    mask = np.zeros(session.scene.shape, bool)
    mask[20:, 20:] = True
    with session.change("extract trees"):
        session.add_layer(session.make_extraction(mask, land_cover="trees", method="index", threshold=0.0))
    view = page.click(opened.browser, (0.05, 0.05), NO_MARKS, add=False)
    assert view.download_name == "water" and [entry.active for entry in view.legend] == [False, True]
    assert page.click(opened.browser, (0.05, 0.9), NO_MARKS, add=False).download_name == "water"


def test_the_eye_hides_a_layer_and_picking_makes_it_it(page, opened):
    say(page, opened, "water")
    last = say(page, opened, "water again")[-1]
    newest, oldest = last.legend
    hidden = page.press_layer(opened.browser, newest.layer_id, "eye", NO_MARKS)
    assert [entry.visible for entry in hidden.legend] == [False, True] and len(hidden.picture.outlines) == 1
    picked = page.press_layer(opened.browser, oldest.layer_id, "pick", NO_MARKS)
    assert [entry.active for entry in picked.legend] == [False, True] and picked.download_name == oldest.name
    assert "no layer" in page.press_layer(opened.browser, "gone", "eye", NO_MARKS).hint


def test_layers_wait_while_a_message_is_answered(page, engine, opened):
    legend = say(page, opened, "water")[-1].legend
    engine.conversation.gate.clear()
    views = page.send(opened.browser, "wait", "natural", NO_MARKS)
    next(views)
    reader = threading.Thread(target=lambda: list(views))
    reader.start()
    time.sleep(0.2)
    assert page.press_layer(opened.browser, legend[0].layer_id, "eye", NO_MARKS).hint == BUSY_HINT
    assert page.rename(opened.browser, "The dry lake").hint == BUSY_HINT
    assert page.stop(opened.browser).hint == "Stopping …"
    engine.conversation.gate.set()
    reader.join(5)
    assert page.stop(opened.browser).hint == ""


def test_two_messages_at_once_are_answered_one_after_the_other(page, opened):
    threads = [threading.Thread(target=say, args=(page, opened, f"water {n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    view = page.load(opened.browser)
    assert len(view.legend) == 4 and len({entry.name for entry in view.legend}) == 4
    assert [said.by_user for said in view.messages] == [False] + [True, False] * 4


def test_a_turn_ends_although_its_reader_has_gone(page, opened):
    views = page.send(opened.browser, "show me the water", "natural", NO_MARKS)
    next(views), next(views)
    views.close()
    time.sleep(0.5)
    assert page.load(opened.browser).legend[0].name == "water"


def test_everything_is_back_after_a_restart(page, engine, opened, tmp_path):
    say(page, opened, "water")
    again = Engine(engine.settings, load=FakeConversation)
    view = Page(again, ExampleImages(tmp_path / "none")).load(opened.browser, "false colour")
    assert [said.text for said in view.messages[1:]] == ["water", "done: water"]
    assert view.legend[0].name == "water" and view.picture.overlay and view.composite == "false colour"


def test_sessions_of_this_browser_only(page, opened, image):
    second = page.open_image(opened.browser, image)
    assert [line.current for line in second.sessions] == [True, False]
    stranger = BrowserRecord()
    assert page.load(stranger).sessions == ()
    assert page.reopen(stranger, opened.browser.current).open_image is None
    back = page.reopen(second.browser, opened.browser.current)
    assert back.open_image and back.browser.current == opened.browser.current
    assert page.rename(back.browser, "The dry lake").sessions[0].title == "The dry lake"
    gone = page.delete(back.browser)
    assert gone.open_image is False and [line.id for line in gone.sessions] == [second.browser.current]
    assert "not here any more" in page.load(back.browser).notice


def test_a_session_that_is_deleted_meanwhile_ends_the_answer_on_the_start_page(page, engine, opened):
    engine.conversation.gate.clear()
    views = page.send(opened.browser, "wait", "natural", NO_MARKS)
    assert next(views).busy
    remover = threading.Thread(target=lambda: page.delete(opened.browser))
    rest = threading.Thread(target=lambda: shown.extend(views))
    shown = []
    rest.start()
    time.sleep(0.2)
    remover.start()
    time.sleep(0.2)
    engine.conversation.gate.set()
    rest.join(5)
    remover.join(5)
    assert shown[-1].open_image is False and shown[-1].busy is False and shown[-1].browser.current is None
    assert "deleted" in shown[-1].notice and not any("went wrong" in said.text for said in shown[-1].messages)


def test_new_image_keeps_the_session_in_the_list(page, opened):
    view = page.new_image(opened.browser)
    assert view.open_image is False and view.browser.current is None and len(view.sessions) == 1


@pytest.mark.parametrize(
    "value", [None, "x", 3, [], {"current": "../../etc", "known": ["1", 2, None, "/etc"]}, {"known": 7}]
)
def test_a_forged_browser_record_is_an_empty_one(value):
    assert BrowserRecord.from_value(value) == BrowserRecord()


@pytest.mark.parametrize(
    ("fmt", "suffix"), [("geotiff", ".tif"), ("geojson", ".geojson"), ("png", ".png"), ("gpkg", ".gpkg")]
)
def test_a_download_lies_in_a_folder_nobody_can_guess(page, engine, opened, fmt, suffix):
    say(page, opened, "water")
    path = page.export(opened.browser, fmt).file
    assert path.endswith(suffix) and path.startswith(str(engine.settings.data_dir / "exports"))
    assert opened.browser.current not in path and len(path.split("/")[-2]) == 32


def test_downloads_need_a_layer_and_a_known_format(page, opened):
    assert "no layer" in page.export(opened.browser, "png").hint
    say(page, opened, "water")
    assert "not known" in page.export(opened.browser, "exe").hint


def test_everything_comes_as_one_archive(page, engine, opened):
    say(page, opened, "water")
    path = page.download_all(opened.browser).file
    assert path.endswith("spex-field.zip") and opened.browser.current not in path
    with zipfile.ZipFile(path) as archive:
        assert {"spex-field/image/field.tif", "spex-field/layers/01-water.tif"} <= set(archive.namelist())
    assert page.download_all(BrowserRecord()).hint == NO_IMAGE_HINT


def test_a_second_image_is_taken_and_the_change_asked_for(page, opened, image, tmp_path):
    (view,) = page.compare_with(opened.browser, image, "natural", newer=False)
    assert view.other_text == "Compared with field.tif, taken as the older one; ask “what changed?”."
    say(page, opened, "water")
    views = list(page.compare_with(opened.browser, image, "natural", newer=True))
    assert views[-1].messages[-2].text == WHAT_CHANGED and "newer" in views[-1].other_text
    assert Chip(WHAT_CHANGED) in views[-1].chips
    (tmp_path / "notes.tif").write_text("no image")
    (view,) = page.compare_with(opened.browser, tmp_path / "notes.tif", "natural", newer=True)
    assert "notes.tif" in view.other_text and "field.tif" in page.load(opened.browser).other_text
    (view,) = page.compare_with(BrowserRecord(), image, "natural", newer=True)
    assert view.hint == NO_IMAGE_HINT


def test_examples_are_listed_by_their_file_names(engine, image, tmp_path):
    folder = tmp_path / "examples"
    folder.mkdir()
    image.rename(folder / "river_bend.tif")
    (folder / "broken.tif").write_text("no")
    (folder / "README.md").write_text("| file | shows |\n|---|---|\n| `river_bend.tif` | a river | nothing |\n")
    page = Page(engine, ExampleImages(folder))
    (card,) = page.examples.cards()
    assert (card.title, card.shows) == ("River Bend", "a river") and "48 × 32 pixels of 10 m" in card.detail
    assert page.load(BrowserRecord()).chips == (Chip("open River Bend", example="river_bend"),)
    assert page.open_example(BrowserRecord(), "river_bend").title == "river_bend.tif"
    assert "no such example" in page.open_example(BrowserRecord(), "../secret").notice


def test_text_from_people_never_becomes_html(page, opened):
    page.rename(opened.browser, EVIL)
    last = say(page, opened, f"water {EVIL}")[-1]
    session = page._store.open(opened.browser.current)
    with session.change("rename"):
        session.update_layer(session.active_layer, name=EVIL)
    view = page.load(opened.browser)
    parts = [legend_html(view.legend), sessions_html(view.sessions), about_html(view.scene), chips_html([Chip(EVIL)])]
    assert all("<img" not in part and 'onerror="' not in part for part in parts)
    assert EVIL in last.messages[-2].text  # said as it was written; the page makes letters of it
