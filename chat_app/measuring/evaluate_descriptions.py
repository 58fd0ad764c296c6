"""Measure the truth of what people read: `python -m chat_app evaluate --descriptions FOLDER`.

The folder is one that `python -m spex_model.training.spie.build` wrote; its held-out images are asked for every land
cover. The model's own words are held to the mask that they painted, and so is the reply that is shown after the check,
by the checker of `spex_model.training.grounding.check`, which knows nothing of that check.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections import defaultdict
from pathlib import Path

from chat_app.graph import Conversation
from chat_app.memory.store import SessionStore
from chat_app.memory.turns import TurnDone
from chat_app.plan import Plan
from chat_app.settings import Settings
from spex_model.imaging.landcover import LAND_COVERS
from spex_model.serving.protocol import Runtime
from spex_model.training.grounding.check import Tally, report
from spex_model.training.grounding.statements import find_statements
from spex_model.training.grounding.subject import Ground

log = logging.getLogger(__name__)

BEFORE, AFTER = "the model's words, before the check", "the reply that is shown, after the check"


def held_out_images(folder: Path) -> dict[str, str]:
    """Names of the held-out images of a records folder and the source of each, sources in turn."""
    sources: dict[str, list[str]] = defaultdict(list)
    for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["held_out"] and record["image"] not in sources[record["source"]]:
            sources[record["source"]].append(record["image"])
    order = sorted((turn, source, name) for source, names in sources.items() for turn, name in enumerate(names))
    return {name: source for _, source, name in order}


def measure_descriptions(
    runtime: Runtime, folder: Path, settings: Settings, *, every: int = 1, limit: int | None = None
) -> dict[str, dict[str, Tally]]:
    """Tallies before and after the check ("all", each land cover, each source) over every n-th held-out image."""
    found: dict[str, dict[str, Tally]] = {BEFORE: defaultdict(Tally), AFTER: defaultdict(Tally)}
    with tempfile.TemporaryDirectory(prefix="spex-descriptions-") as scratch:
        used = settings.model_copy(update={"data_dir": Path(scratch)})
        conversation = Conversation(used, runtime, SessionStore(used))
        for name, source in list(held_out_images(folder).items())[::every][:limit]:
            _measure_image(conversation, folder / "scenes" / f"{name}.tif", source, found)
            log.info("%s; %s", name, found[AFTER]["all"].row("shown") if found[AFTER] else "nothing shown yet")
    return found


def _measure_image(conversation: Conversation, path: Path, source: str, found: dict[str, dict[str, Tally]]) -> None:
    session = conversation.store.create(path)
    for cover in LAND_COVERS:
        plan = Plan.model_validate({"intent": "extract", "land_covers": [cover]})
        *_, done = conversation.run_turn(session.id, f"show me the {cover}", plan=plan)
        if not isinstance(done, TurnDone) or done.turn.error is not None:
            continue  # no layer, so nothing is said of one
        extraction = session.extraction(cover)
        ground = Ground(session.scene, cover, extraction.mask)
        for when, text in ((BEFORE, extraction.model_text), (AFTER, done.turn.reply)):
            if text:
                statements, unread = find_statements(text, ground)
                for row in ("all", f"land cover {cover}", f"source {source}"):
                    found[when][row].add(statements, unread, f"{path.stem}/{cover}: {text!r}")
    conversation.store.delete(session.id)


def evaluate_descriptions(
    runtime: Runtime, folder: Path, settings: Settings, *, every: int = 1, limit: int | None = None
) -> str:
    """The report as Markdown: statements a description and how many are true, by kind, before and after the check."""
    found = measure_descriptions(runtime, folder, settings, every=every, limit=limit)
    return "\n".join(report(tallies, f"Held to the mask: {when}") for when, tallies in found.items() if tallies)
