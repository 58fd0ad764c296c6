"""The real page in a real browser: app.py with the model inside it, driven as a person would."""

import json
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from scipy.ndimage import distance_transform_edt

from tests.page_server import ROOT, App, write_lakes

SHOTS = ROOT / "artifacts" / "page"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT_MS = 180_000
FINISHED = """(count) => {
  const said = document.querySelectorAll('#chat .bot.message');
  const words = said.length === count ? said[count - 1].innerText : '…';
  return !words.endsWith('…') && document.querySelector('#send') && document.querySelector('#chips .chip');
}"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    app = App(tmp_path_factory.mktemp("app"))
    app.start()
    yield app
    app.stop()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def page(app, chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.errors, page.outside = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.outside.append(request.url) if is_outside(request.url) else None)
    page.goto(app.url)
    page.wait_for_selector("#upload input[type=file]", state="attached")
    yield page
    assert page.errors == [] and page.outside == []
    context.close()


def is_outside(url):
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))


def shoot(page, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def open_image(page, path):
    page.set_input_files("#upload input[type=file]", str(path))
    page.wait_for_selector("#image .viewer")
    page.wait_for_function("document.querySelector('#viewer .base').naturalWidth > 0")


def replies(page):
    return page.locator("#chat .bot.message").all_inner_texts()


def say(page, text):
    """Send a message with Enter and return the finished reply."""
    before = len(replies(page))
    page.fill("#box textarea", text)
    page.press("#box textarea", "Enter")
    page.wait_for_function(FINISHED, arg=before + 1)
    return replies(page)[-1]


def picture(page, tmp_path):
    page.wait_for_timeout(400)
    page.locator(".viewer .stage").screenshot(path=tmp_path / "picture.png")
    return np.asarray(Image.open(tmp_path / "picture.png").convert("RGB")).astype(int)


def changed_share(one, other):
    return float((np.abs(one - other).max(axis=2) > 24).mean())


def layer_numbers(page):
    return page.locator("#legend .numbers").first.inner_text()


def reopen(page, url):
    """Go to the page anew; a page that sees its server come back reloads itself, which may get in the way once."""
    from playwright.sync_api import Error

    for attempt in range(3):
        try:
            page.goto(url)
            return
        except Error:
            if attempt == 2:
                raise
            page.wait_for_timeout(1000)


def test_a_conversation_about_an_image(app, page, tmp_path):
    shoot(page, "1-start")
    open_image(page, write_lakes(tmp_path / "lakes.tif"))
    assert "256 × 256 pixels" in replies(page)[0] and "EPSG:32633" in page.inner_text("#about")
    plain = picture(page, tmp_path)

    reply = say(page, "show me the water with NDWI")
    assert re.search(r"\d[\d.,]* ha", reply) and "%" in reply
    water = picture(page, tmp_path)
    assert 0.05 < changed_share(plain, water) < 0.4
    shoot(page, "2-water")

    many = layer_numbers(page)
    assert re.search(r"\d+ regions", many)
    say(page, "only the biggest one")
    assert "1 region" in layer_numbers(page)
    assert changed_share(water, picture(page, tmp_path)) > 0.01
    assert re.search(r"\d[\d.,]* ha", say(page, "how many hectares is it?"))
    say(page, "undo")
    assert layer_numbers(page) == many and changed_share(water, picture(page, tmp_path)) < 0.01

    said = replies(page)
    page.reload()
    page.wait_for_selector("#legend .layer")
    assert replies(page) == said and layer_numbers(page) == many
    assert changed_share(water, picture(page, tmp_path)) < 0.01
    shoot(page, "3-reloaded")

    app.stop()
    app.start()
    reopen(page, app.url)
    page.wait_for_selector("#legend .layer")
    assert replies(page) == said and layer_numbers(page) == many


def test_the_model_writes_its_reply_as_it_goes(page, tmp_path):
    open_image(page, write_lakes(tmp_path / "lakes.tif"))
    page.evaluate(
        """() => { window.seen = new Set(); new MutationObserver(() => {
          const all = document.querySelectorAll('#chat .message'); window.seen.add(all[all.length - 1]?.innerText); })
          .observe(document.querySelector('#chat'), {childList: true, subtree: true, characterData: true}); }"""
    )
    reply = say(page, "show me the vegetation")
    assert "vegetation" in reply.lower() and page.evaluate("window.seen.size") >= 4
    page.wait_for_selector("#status .ready")
    assert "inside the chat" in page.inner_text("#status")


def test_a_click_and_a_download(page, tmp_path):
    open_image(page, write_lakes(tmp_path / "lakes.tif"))
    say(page, "show me the water with NDWI")
    box = page.locator(".viewer .stage").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.501, box["y"] + box["height"] * 0.251)
    page.wait_for_selector("#click")
    assert "Row 64, column 128" in page.inner_text("#click-text") and page.locator(".marks circle").count() == 3
    shoot(page, "4-click")
    page.click("#clear")
    page.wait_for_selector("#click", state="hidden")
    with page.expect_download() as started:
        page.click("#downloads button:has-text('GeoTIFF')")
    with rasterio.open(started.value.path()) as mask:
        assert mask.shape == (256, 256) and mask.crs.to_epsg() == 32633 and set(np.unique(mask.read(1))) == {0, 1}
    page.click("#legend .eye")
    page.wait_for_selector("#legend .hidden-layer")


def test_a_text_file_gives_a_sentence(page, tmp_path):
    fake = tmp_path / "notes.tif"
    fake.write_text("this is no image\n")
    page.set_input_files("#upload input[type=file]", str(fake))
    page.wait_for_selector("#notice .problem")
    notice = page.inner_text("#notice")
    assert "notes.tif" in notice and "Traceback" not in notice and len(notice) < 250
    shoot(page, "5-bad-file")


def test_text_from_people_stays_text(page, tmp_path):
    open_image(page, write_lakes(tmp_path / "lakes.tif"))
    say(page, "show me the water with NDWI")
    say(page, 'rename it to <img src=x onerror="window.hurt=1">')
    say(page, "hello <b>you</b> <script>window.hurt=1</script> ![x](http://elsewhere.test/x.png) ${window.hurt=1}")
    assert "<b>you</b>" in page.inner_text("#chat")
    assert page.locator("#chat b, #chat img, #legend img").count() == 0 and page.evaluate("window.hurt") is None
    page.press("#box textarea", "Enter")
    page.wait_for_selector("#hint .hint")


def fetch(url, body=None):
    """The status of a request made without the page."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_other_files_are_not_served(app, page, tmp_path):
    open_image(page, write_lakes(tmp_path / "lakes.tif"))
    stored = list((app.data_dir / "sessions").glob("*/session.json"))
    for path in [*stored, ROOT / "pyproject.toml", Path("/etc/hostname")]:
        assert fetch(f"{app.url}gradio_api/file={path}")[0] in (403, 404)
    config = json.loads(fetch(f"{app.url}config")[1])
    assert not any(path.parent.name in json.dumps(config) for path in stored)
    upload = next(
        one["id"] for one in config["dependencies"] if any(target[1] == "upload" for target in one["targets"])
    )
    forged = {"path": str(tmp_path / "lakes.tif"), "meta": {"_type": "gradio.FileData"}}
    body = {"fn_index": upload, "session_hash": "forged", "data": [None, forged]}
    assert fetch(f"{app.url}gradio_api/run/predict", body)[0] >= 400
    assert len(list((app.data_dir / "sessions").glob("*/session.json"))) == len(stored)


@pytest.mark.parametrize(("name", "size", "scheme"), [("phone", (390, 844), "light"), ("dark", (1280, 800), "dark")])
def test_it_fits_the_window(app, chromium, tmp_path, name, size, scheme):
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(app.url)
    page.wait_for_selector("#upload input[type=file]", state="attached")
    open_image(page, write_lakes(tmp_path / "lakes.tif"))
    say(page, "show me the water with NDWI")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    box = page.locator(".viewer .stage").bounding_box()
    assert box["width"] > 200 and box["y"] >= 0 and box["y"] + box["height"] <= size[1]
    page.wait_for_timeout(500)
    shoot(page, f"6-{name}")
    context.close()


def at(page, x, y):
    """Screen coordinates of a place on the picture, x and y 0-1."""
    box = page.locator(".viewer .stage").bounding_box()
    return box["x"] + box["width"] * x, box["y"] + box["height"] * y


def pixels_of(page):
    """The pixels of the active layer, as the layer answers in words."""
    return int(re.search(r"([\d,]+) pixels", say(page, "how many pixels is it?"))[1].replace(",", ""))


def test_clicks_correct_the_layer_and_a_box_narrows_it(page, tmp_path):
    open_image(page, write_lakes(tmp_path / "lakes.tif"))
    assert page.locator(".modes [data-mode=add]").is_disabled()
    say(page, "show me the water")
    before = pixels_of(page)
    page.click(".modes [data-mode=add]")
    count = len(replies(page))
    page.mouse.click(*at(page, *dry_place(tmp_path / "lakes.tif")))
    page.wait_for_function(FINISHED, arg=count + 1)
    assert "Added where you clicked" in replies(page)[-1]
    shoot(page, "7-added")
    added = pixels_of(page)
    assert added > before
    say(page, "undo")
    assert pixels_of(page) == before

    page.click(".modes [data-mode=box]")
    page.mouse.move(*at(page, 0.25, 0.25))
    page.mouse.down()
    page.mouse.move(*at(page, 0.5, 0.5), steps=4)
    page.mouse.move(*at(page, 0.75, 0.8), steps=4)
    page.mouse.up()
    page.wait_for_selector("#click-text:has-text('Drawn:')")
    shoot(page, "8-box")
    said = say(page, "only inside the box")
    assert "inside your drawing" in said and pixels_of(page) < before
    page.wait_for_selector("#click", state="hidden")

    page.click(".modes [data-mode=outline]")
    for place in ((0.3, 0.3), (0.6, 0.35), (0.5, 0.7), (0.3, 0.3)):
        page.mouse.click(*at(page, *place))
    page.wait_for_selector("#click-text:has-text('Drawn:')")
    shoot(page, "9-outline")
    assert "inside your drawing" in say(page, "remove what is in the box")


def test_two_images_are_compared_and_everything_is_taken_away(page, tmp_path):
    open_image(page, write_lakes(tmp_path / "lakes.tif"))
    write_lakes(tmp_path / "later.tif", level=0.75)
    say(page, "show me the water with NDWI")
    count = len(replies(page))
    page.click("#compare-box button")
    page.set_input_files("#other input[type=file]", str(tmp_path / "later.tif"))
    page.wait_for_function(FINISHED, arg=count + 1)
    reply = replies(page)[-1]
    assert "between lakes.tif and later.tif" in reply and re.search(r"Gained: \d[\d.,]* ha \(\d+.\d %", reply)
    page.wait_for_selector("#legend .layer:has-text('water gained')")
    assert "taken as the newer one" in page.inner_text("#other-text")
    shoot(page, "10-change")
    with page.expect_download() as started:
        page.click("#everything")
    with zipfile.ZipFile(started.value.path()) as archive:
        names = archive.namelist()
    assert "spex-lakes/transcript.md" in names and "spex-lakes/layers/02-water-gained.tif" in names


def dry_place(path):
    """The middle of land, x and y 0-1, far from water."""
    with rasterio.open(path) as dataset:
        nir = dataset.read(4)
    distance = distance_transform_edt(nir > 1000)
    distance[:, :70] = 0  # where the buttons lie over the picture
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return (column + 0.5) / 256, (row + 0.5) / 256
