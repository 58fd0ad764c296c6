"""The page at work: what each component calls, and how a `View` reaches the components."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI

from chat_app.memory.marks import Marks
from chat_app.page.downloads import downloads_folder, sweep_downloads
from chat_app.page.engine import Engine
from chat_app.page.examples import ExampleImages
from chat_app.page.handlers import Page
from chat_app.page.layout import Components, lay_out
from chat_app.page.markup import about_html, chips_html, legend_html, notice_html, sessions_html, status_html
from chat_app.page.render import ASSETS
from chat_app.page.view import BrowserRecord, View
from chat_app.settings import Settings

_SET_OPACITY = "(value) => { document.documentElement.style.setProperty('--fill-opacity', value / 100); return []; }"
_START_DOWNLOAD = """
() => { setTimeout(() => {
  const file = document.querySelector('#download-file');
  (file.matches('a, button') ? file : file.querySelector('a, button')).click();
}, 200); return []; }
"""
Updates = dict[Any, Any]


def updates(page: Components, view: View) -> Updates:
    """What a view changes, as updates of components."""
    setters: dict[str, Callable[[Any], Updates]] = {
        "browser": lambda v: {page.browser: v.to_value()},
        "open_image": lambda v: _swap_pages(page, v),
        "messages": lambda v: {page.chat: [_message(said.text, said.by_user) for said in v]},
        "chips": lambda v: {page.chips: chips_html(v)},
        "legend": lambda v: {page.legend: legend_html(v)},
        "scene": lambda v: {page.about: about_html(v)},
        "composite": lambda v: {page.composite: gr.Radio(choices=list(view.composites or (v,)), value=v)},
        "marks": lambda v: {page.marks: v, page.click_row: gr.Row(visible=bool(v))},
        "click_text": lambda v: {page.click_text: notice_html(v, "click")},
        "title": lambda v: {page.title: v, page.delete_now: gr.Button(visible=False)},
        "other_text": lambda v: {page.other_text: notice_html(v)},
        "sessions": lambda v: {page.sessions: sessions_html(v)},
        "notice": lambda v: {page.notice: notice_html(v, "problem")},
        "hint": lambda v: {page.hint: notice_html(v)},
        "typed": lambda v: {page.box: v},
        "busy": lambda v: {page.send: gr.Button(visible=not v), page.stop: gr.Button(visible=v)},
        "file": lambda v: {page.file: v},
        "download_name": lambda v: _offer_downloads(page, v),
    }
    changed = _draw(page, view)
    for name, setter in setters.items():
        if (value := getattr(view, name)) is not None:
            changed |= setter(value)
    return changed


def _message(text: str, by_user: bool) -> dict[str, str]:
    """A message as it was written: the chat shows it as HTML, made safe but alive, so its marks are made letters."""
    text = escape(text, quote=False)
    return {"role": "user" if by_user else "assistant", "content": text}


def _swap_pages(page: Components, image: bool) -> Updates:
    shown = {page.image: gr.Column(visible=image), page.panel: gr.Column(visible=image)}
    return {**shown, page.start: gr.Column(visible=not image), page.new_image: gr.Button(visible=image)}


def _draw(page: Components, view: View) -> Updates:
    values: dict[str, Any] = {}
    if view.picture is not None:
        values["value"] = asdict(view.picture)
    if view.base is not None:
        values["base"] = view.base
    return {page.viewer: gr.HTML(**values)} if values else {}


def _offer_downloads(page: Components, name: str) -> Updates:
    title = notice_html(f"Download “{name}”" if name else "Download", "heading")
    buttons = {button: gr.Button(interactive=bool(name)) for button in page.downloads.values()}
    return {page.download_title: title, **buttons}


def _pressed(event: gr.EventData | None, name: str) -> str:
    """A data attribute of the button that was pressed; "" when the event carries none."""
    data = getattr(event, "_data", None)
    return str(data.get(name) or "") if isinstance(data, dict) else ""


def _places(data: dict[str, Any]) -> list[tuple[float, float]]:
    """The places on the picture (x, y 0-1) that an event tells of; none where it tells nonsense."""
    try:
        return [(float(x), float(y)) for x, y in data.get("places", ())]
    except (TypeError, ValueError):
        return []


def wire(demo: gr.Blocks, c: Components, page: Page, engine: Engine) -> None:
    """Connect every component to its handler."""
    private = {"api_visibility": "private"}  # the command line is the door for programs
    quiet: dict[str, Any] = {"outputs": c.outputs, "show_progress": "hidden", **private}

    def on_load(browser: Any, composite: str) -> Updates:
        return updates(c, page.load(BrowserRecord.from_value(browser), composite))

    def on_upload(browser: Any, path: str | None) -> Updates:
        view = page.open_image(BrowserRecord.from_value(browser), Path(path) if path else None)
        if path:
            Path(path).unlink(missing_ok=True)  # the session holds a copy
        return {**updates(c, view), c.upload: None}

    def on_example(browser: Any, event: gr.EventData) -> Updates:
        return updates(c, page.open_example(BrowserRecord.from_value(browser), _pressed(event, "example")))

    demo.load(on_load, [c.browser, c.composite], **quiet)
    demo.load(None, c.opacity, None, js=_SET_OPACITY, **private)
    c.opacity.input(None, c.opacity, None, js=_SET_OPACITY, **private)
    c.upload.upload(on_upload, [c.browser, c.upload], outputs=c.outputs, **private)
    c.examples.click(on_example, c.browser, **quiet)
    gr.on(
        [demo.load, c.timer.tick],
        lambda: status_html(engine.status()), None, c.status, show_progress="hidden", queue=False, **private,
    )  # fmt: skip
    _wire_talk(c, page, quiet)
    _wire_picture(c, page, quiet)
    _wire_sessions(c, page, quiet)


def _wire_talk(c: Components, page: Page, quiet: dict[str, Any]) -> None:
    def on_say(browser: Any, typed: str, composite: str, marks: Marks, event: gr.EventData) -> Iterator[Updates]:
        record = BrowserRecord.from_value(browser)
        if example := _pressed(event, "example"):
            yield updates(c, page.open_example(record, example))
            return
        chip = _pressed(event, "text")
        for view in page.send(record, chip or typed or "", composite, marks, typed=not chip):
            yield updates(c, view)

    def on_stop(browser: Any) -> Updates:
        return updates(c, page.stop(BrowserRecord.from_value(browser)))

    c.stop.click(on_stop, c.browser, **quiet)
    # one dependency for all ways to say something: a second message waits until the first is answered
    gr.on([c.box.submit, c.send.click, c.chips.click], on_say, [c.browser, c.box, c.composite, c.marks], **quiet)


def _wire_picture(c: Components, page: Page, quiet: dict[str, Any]) -> None:
    def on_click(browser: Any, marks: Marks, composite: str, event: gr.EventData) -> Iterator[Updates]:
        """A click marks, or corrects the active layer, or ends a drawing: the picture tells which mode it is in."""
        record = BrowserRecord.from_value(browser)
        data = event._data if isinstance(event._data, dict) else {}
        places = _places(data)
        if data.get("mode") == "draw":
            yield updates(c, page.draw(record, places))
        elif places and data.get("mode") in ("add", "remove"):
            for view in page.correct(record, places[0], data["mode"], composite):
                yield updates(c, view)
        elif places:
            yield updates(c, page.click(record, places[0], marks, add=bool(data.get("more"))))

    def on_layer(browser: Any, marks: Marks, event: gr.EventData) -> Updates:
        layer, action = _pressed(event, "layer"), _pressed(event, "action")
        return updates(c, page.press_layer(BrowserRecord.from_value(browser), layer, action, marks))

    def on_composite(browser: Any, composite: str) -> Updates:
        return updates(c, page.choose_composite(BrowserRecord.from_value(browser), composite))

    def on_clear(browser: Any) -> Updates:
        return updates(c, page.clear_marks(BrowserRecord.from_value(browser)))

    def on_export(browser: Any, fmt: str) -> Updates:
        return updates(c, page.export(BrowserRecord.from_value(browser), fmt))

    def on_everything(browser: Any) -> Updates:
        return updates(c, page.download_all(BrowserRecord.from_value(browser)))

    c.everything.click(on_everything, c.browser, **quiet)
    c.viewer.click(on_click, [c.browser, c.marks, c.composite], **quiet)
    c.legend.click(on_layer, [c.browser, c.marks], **quiet)
    c.composite.input(on_composite, [c.browser, c.composite], **quiet)
    c.clear.click(on_clear, c.browser, **quiet)
    for fmt, button in c.downloads.items():
        button.click(lambda browser, fmt=fmt: on_export(browser, fmt), c.browser, **quiet)
    c.file.change(None, None, None, js=_START_DOWNLOAD, api_visibility="private")


def _wire_sessions(c: Components, page: Page, quiet: dict[str, Any]) -> None:
    def on_session(browser: Any, event: gr.EventData) -> Updates:
        return updates(c, page.reopen(BrowserRecord.from_value(browser), _pressed(event, "session")))

    def on_new(browser: Any) -> Updates:
        return updates(c, page.new_image(BrowserRecord.from_value(browser)))

    def on_rename(browser: Any, title: str) -> Updates:
        return updates(c, page.rename(BrowserRecord.from_value(browser), title or ""))

    def on_delete(browser: Any) -> Updates:
        return updates(c, page.delete(BrowserRecord.from_value(browser)))

    def on_other(browser: Any, path: str | None, when: str, composite: str) -> Iterator[Updates]:
        record, file = BrowserRecord.from_value(browser), Path(path) if path else None
        for view in page.compare_with(record, file, composite, newer=when != "older"):
            yield {**updates(c, view), c.other: None}
        if file is not None:
            file.unlink(missing_ok=True)  # the session holds a copy

    c.other.upload(on_other, [c.browser, c.other, c.other_when, c.composite], **quiet)
    c.sessions.click(on_session, c.browser, **quiet)
    c.new_image.click(on_new, c.browser, **quiet)
    gr.on([c.rename.click, c.title.submit], on_rename, [c.browser, c.title], **quiet)
    c.delete.click(
        lambda: gr.Button(visible=True), None, c.delete_now, show_progress="hidden", api_visibility="private"
    )
    c.delete_now.click(on_delete, c.browser, **quiet)


def build_page(settings: Settings, engine: Engine) -> gr.Blocks:
    """The whole page, wired; nothing runs before it is launched."""
    examples = ExampleImages()
    with gr.Blocks(title="SPEX chat", fill_width=True, analytics_enabled=False, delete_cache=(3_600, 86_400)) as demo:
        components = lay_out(settings, examples, engine.status())
        wire(demo, components, Page(engine, examples), engine)
    demo.queue(default_concurrency_limit=8, max_size=64)
    return demo


def theme() -> gr.themes.Base:
    """Quiet shapes and system fonts: nothing is fetched from elsewhere. Colours are in `assets/page.css`."""
    return gr.themes.Base(
        font=["system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "DejaVu Sans", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "DejaVu Sans Mono", "monospace"],
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
        spacing_size=gr.themes.sizes.spacing_sm,
    )


def mount(demo: gr.Blocks, settings: Settings) -> FastAPI:
    """The page as an ASGI application.

    Not by `demo.launch()`: that gives up when the page doesn't answer itself within seconds, as behind a proxy or on
    a busy machine. What launching would set is set here: uploads are limited, paths in requests are checked
    (`has_launched`), and no run history is kept in browsers.
    """
    folder = downloads_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    sweep_downloads(folder)
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), demo, path="/", server_name=settings.host,
        server_port=settings.port, theme=theme(), css_paths=[ASSETS / "page.css"], allowed_paths=[str(folder)],
        max_file_size=settings.max_upload_mb * 2**20, footer_links=[], run_history=False, show_error=False, ssr_mode=False,
    )  # fmt: skip
    demo.has_launched = True
    return app


def serve(demo: gr.Blocks, settings: Settings) -> None:
    """Serve the page on the host and port of the settings until it is stopped; raises OSError when they can't be used."""
    app = mount(demo, settings)
    ipv6 = ":" in settings.host
    family, shown = (socket.AF_INET6, f"[{settings.host}]") if ipv6 else (socket.AF_INET, settings.host)
    with socket.create_server((settings.host, settings.port), family=family, reuse_port=False) as listener:
        print(f"SPEX chat is on http://{shown}:{settings.port}/", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listener])
