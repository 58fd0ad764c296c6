"""Prompt files: each documented, each filled completely or not at all."""

import re

import pytest

from chat_app.errors import PromptError
from chat_app.prompts import PROMPTS_DIR, placeholders, render

FILES = sorted(path.stem for path in PROMPTS_DIR.glob("*.md") if path.stem != "README")


@pytest.mark.parametrize("name", FILES)
def test_every_prompt_and_field_is_documented(name):
    [row] = [line for line in (PROMPTS_DIR / "README.md").read_text().splitlines() if line.startswith(f"| `{name}.md`")]
    assert set(re.findall(r"`\{(\w+)\}`", row)) == placeholders(name)


def test_a_missing_or_surplus_field_is_an_error():
    with pytest.raises(PromptError, match="message"):
        render("plan", layers="none")
    with pytest.raises(PromptError):
        render("plan", layers="none", message="hi", more="x")


def test_braces_in_a_message_are_text():
    assert "{0} {layers}" in render("plan", layers="none", last="none", message="{0} {layers}")
