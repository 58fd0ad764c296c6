"""Prompt files: one loader for all of `prompts/`."""

from __future__ import annotations

import string
from functools import lru_cache
from pathlib import Path

from chat_app.errors import PromptError

PROMPTS_DIR = Path(__file__).parents[1] / "prompts"


@lru_cache(maxsize=64)
def _template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise PromptError(f"The prompt file {path.name} is missing.") from error


def placeholders(name: str, folder: Path = PROMPTS_DIR) -> set[str]:
    """The fields that a prompt needs."""
    return {field for _, field, _, _ in string.Formatter().parse(_template(folder / f"{name}.md")) if field}


def render(name: str, folder: Path | None = None, /, **fields: object) -> str:
    """Fill `prompts/NAME.md`. Raises PromptError when a field is missing or not asked for.

    Values are put in as they are: braces in a user's message are never read as fields.
    """
    folder = folder or PROMPTS_DIR
    needed = placeholders(name, folder)
    if needed != set(fields):
        raise PromptError(f"The prompt {name} needs {sorted(needed)}, and was given {sorted(fields)}.")
    return _template(folder / f"{name}.md").format(**fields)
