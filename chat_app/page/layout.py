"""What stands where on the page: head, conversation, picture, and the panel of layers. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from chat_app.memory.marks import NO_MARKS
from chat_app.page.downloads import FORMATS
from chat_app.page.examples import ExampleImages
from chat_app.page.markup import examples_html, legend_html, notice_html, sessions_html, status_html
from chat_app.page.render import ASSETS
from chat_app.page.status import Status
from chat_app.settings import Settings
from spex_model.imaging.composites import COMPOSITES

IMAGE_TYPES = [".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg"]
_STORAGE_KEY = "spex-chat"
_STORAGE_SECRET = "spex-chat-browser"
"""Gradio sends it to every browser, so it protects nothing; it is fixed so that a restarted server reads old records."""
_PRESSED = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button) trigger('click', {...button.dataset});
});
"""
_HEAD = """
<header class="head"><span class="mark" aria-hidden="true"><i></i><i></i><i></i></span>
<h1>SPEX chat</h1><p>Ask a satellite image in plain English</p></header>
"""
_WELCOME = """
<div class="welcome"><h2>What is in your image?</h2>
<p>Open an image, then write what you want to know:</p>
<ul><li>“show me the water”</li><li>“only the biggest lake”</li><li>“how many hectares is that?”</li>
<li>“why do you think so?”</li></ul></div>
"""


@dataclass(frozen=True)
class Components:
    """Every component that a view can reach or a handler reads."""

    browser: gr.BrowserState
    marks: gr.State
    status: gr.HTML
    timer: gr.Timer
    chat: gr.Chatbot
    chips: gr.HTML
    box: gr.Textbox
    send: gr.Button
    stop: gr.Button
    hint: gr.HTML
    start: gr.Column
    upload: gr.File
    notice: gr.HTML
    examples: gr.HTML
    image: gr.Column
    viewer: gr.HTML
    click_row: gr.Row
    click_text: gr.HTML
    clear: gr.Button
    panel: gr.Column
    legend: gr.HTML
    opacity: gr.Slider
    composite: gr.Radio
    download_title: gr.HTML
    downloads: dict[str, gr.Button]
    file: gr.DownloadButton
    about: gr.HTML
    everything: gr.Button
    other: gr.File
    other_when: gr.Radio
    other_text: gr.HTML
    title: gr.Textbox
    rename: gr.Button
    delete: gr.Button
    delete_now: gr.Button
    sessions: gr.HTML
    new_image: gr.Button

    @property
    def outputs(self) -> list[gr.components.Component]:
        """All that a view may change."""
        return [
            self.browser, self.marks, self.chat, self.chips, self.box, self.send, self.stop, self.hint, self.start, self.upload, self.notice,
            self.image, self.viewer, self.click_row, self.click_text, self.panel, self.legend, self.composite,
            self.download_title, *self.downloads.values(), self.file, self.about, self.other, self.other_text, self.title, self.delete_now,
            self.sessions, self.new_image,
        ]  # fmt: skip


def pressable(elem_id: str, value: str = "") -> gr.HTML:
    """HTML whose buttons send their data attributes with the click event.

    The default template puts the value in as a finished string. A Handlebars template would not do: the page
    evaluates what Handlebars made as a script, so text from people must never pass through one.
    """
    return gr.HTML(value, elem_id=elem_id, js_on_load=_PRESSED, apply_default_css=False)


def plain(elem_id: str, value: str = "") -> gr.HTML:
    """HTML that only shows something."""
    return gr.HTML(value, elem_id=elem_id, js_on_load=None, apply_default_css=False)


def lay_out(settings: Settings, examples: ExampleImages, status: Status) -> Components:
    """Make all components, inside a `gr.Blocks`."""
    made: dict[str, Any] = {
        "browser": gr.BrowserState(None, storage_key=_STORAGE_KEY, secret=_STORAGE_SECRET),
        "marks": gr.State(NO_MARKS),
        "timer": gr.Timer(4),
    }
    with gr.Sidebar(open=False, width=300, elem_id="sidebar"):
        made |= _sessions()
    with gr.Row(elem_id="head"):
        plain("brand", _HEAD)
        made["status"] = plain("status", status_html(status))
        made["new_image"] = gr.Button("New image", elem_id="new-image", size="sm", scale=0, min_width=96, visible=False)
    with gr.Row(elem_id="work"):
        with gr.Column(elem_id="talk", scale=0, min_width=320):
            made |= _conversation(settings)
        with gr.Column(elem_id="start", scale=1, min_width=320) as made["start"]:
            made |= _start(settings, examples)
        with gr.Column(elem_id="image", scale=1, min_width=320, visible=False) as made["image"]:
            made |= _picture()
        with gr.Column(elem_id="panel", scale=0, min_width=260, visible=False) as made["panel"]:
            made |= _panel()
    return Components(**made)


def _sessions() -> dict[str, Any]:
    plain("sessions-heading", notice_html("Your images", "heading"))
    sessions = pressable("sessions", sessions_html(()))
    with gr.Accordion("This session", open=False, elem_id="this-session"):
        title = gr.Textbox(label="Title", max_lines=1, max_length=80, elem_id="title")
        with gr.Row():
            rename = gr.Button("Rename", size="sm")
            delete = gr.Button("Delete …", size="sm")
        delete_now = gr.Button("Delete it for good", variant="stop", size="sm", visible=False, elem_id="delete-now")
    return {
        "sessions": sessions, "title": title, "rename": rename, "delete": delete, "delete_now": delete_now,
    }  # fmt: skip


def _conversation(settings: Settings) -> dict[str, Any]:
    chat = gr.Chatbot(
        elem_id="chat", show_label=False, height="100%", placeholder=_WELCOME, buttons=[], layout="bubble",
        sanitize_html=True, render_markdown=False, allow_tags=False, latex_delimiters=[], feedback_options=None,
        allow_file_downloads=False, group_consecutive_messages=False, container=False,
    )  # fmt: skip
    chips = pressable("chips")
    with gr.Row(elem_id="say"):
        box = gr.Textbox(
            elem_id="box", show_label=False, container=False, placeholder="Ask about the image …", lines=1, max_lines=5,
            scale=1, max_length=settings.max_message_chars * 2,
        )  # fmt: skip
        send = gr.Button("Send", elem_id="send", variant="primary", scale=0, min_width=72)
        stop = gr.Button("Stop", elem_id="stop", scale=0, min_width=72, visible=False)
    return {"chat": chat, "chips": chips, "box": box, "send": send, "stop": stop, "hint": plain("hint")}


def _start(settings: Settings, examples: ExampleImages) -> dict[str, Any]:
    plain("start-title", "<h2>Open an image</h2>")
    upload = gr.File(
        elem_id="upload", file_types=IMAGE_TYPES, show_label=False, height=190, type="filepath", file_count="single"
    )
    limits = f"GeoTIFF, JPEG 2000, PNG or JPEG, up to {settings.max_pixels / 1e6:.0f} megapixels and {settings.max_upload_mb:,} MB."
    plain("upload-limits", f'<p class="quiet">{limits} It stays on this server until you delete it.</p>')
    notice = plain("notice")
    cards = examples.cards()
    if cards:
        plain("examples-title", "<h2>Or try an example</h2>")
    return {"upload": upload, "notice": notice, "examples": pressable("examples", examples_html(cards))}


def _picture() -> dict[str, Any]:
    viewer = gr.HTML(
        {}, elem_id="viewer", html_template=(ASSETS / "viewer.html").read_text(encoding="utf-8"),
        js_on_load=(ASSETS / "viewer.js").read_text(encoding="utf-8"), apply_default_css=False, base="",
    )  # fmt: skip
    with gr.Row(elem_id="click", visible=False) as click_row:
        click_text = plain("click-text")
        clear = gr.Button("Clear mark", size="sm", scale=0, min_width=96, elem_id="clear")
    return {"viewer": viewer, "click_row": click_row, "click_text": click_text, "clear": clear}


def _panel() -> dict[str, Any]:
    plain("legend-title", notice_html("Layers", "heading"))
    legend = pressable("legend", legend_html(()))
    opacity = gr.Slider(0, 100, value=45, step=1, label="Fill", elem_id="opacity", buttons=[])
    composite = gr.Radio(
        [*COMPOSITES, "grey"], value="natural", label="Colours", elem_id="composite"
    )  # all of them, so that a page that outlives a restart may still choose; a view shows those that the bands allow
    download_title = plain("download-title", notice_html("Download", "heading"))
    with gr.Row(elem_id="downloads"):
        downloads = {key: gr.Button(name, size="sm", min_width=80, interactive=False) for key, name in FORMATS.items()}
        everything = gr.Button("Everything (zip)", size="sm", min_width=80, elem_id="everything")
    file = gr.DownloadButton(elem_id="download-file", elem_classes="unseen")
    with gr.Accordion("Compare with another image", open=False, elem_id="compare-box"):
        other_when = gr.Radio(
            [("it is newer", "newer"), ("it is older", "older")], value="newer", show_label=False, elem_id="other-when"
        )
        other = gr.File(
            elem_id="other", file_types=IMAGE_TYPES, show_label=False, height=120, type="filepath", file_count="single"
        )
        other_text = plain("other-text")
    with gr.Accordion("About this image", open=True, elem_id="about-box"):
        about = plain("about")
    return {
        "legend": legend, "opacity": opacity, "composite": composite, "download_title": download_title,
        "downloads": downloads, "file": file, "about": about, "everything": everything, "other": other,
        "other_when": other_when, "other_text": other_text,
    }  # fmt: skip
