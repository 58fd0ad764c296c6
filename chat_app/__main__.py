"""The command line: `python -m chat_app ask IMAGE "show me the water" "only the biggest lake" --json`, and others."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from chat_app.acting.corrections import box_polygon
from chat_app.errors import ChatError
from chat_app.files.export import write_mask
from chat_app.graph import Conversation
from chat_app.measuring import bench
from chat_app.memory.layers import Layer
from chat_app.memory.marks import Marks
from chat_app.memory.session import Session
from chat_app.memory.turns import TextDelta, Turn, TurnDone
from chat_app.settings import Settings
from spex_model.imaging.errors import ImagingError
from spex_model.serving import load_runtime
from spex_model.serving.errors import ServingError
from spex_model.serving.protocol import Runtime

BAD_IMAGE = 2


def layer_record(session: Session, layer: Layer, folder: Path) -> dict[str, Any]:
    """One layer of the JSON output; its mask is written as a GeoTIFF into the folder."""
    extraction = session.extraction(layer)
    path = folder / f"{layer.id}-{extraction.id}.tif"
    if not path.exists():
        write_mask(path, extraction.mask, session.scene, layer)
    pixels, valid = int(extraction.mask.sum()), max(1, int(session.scene.valid.sum()))
    return {
        "id": layer.id,
        "name": layer.name,
        "land_cover": layer.land_cover,
        "mask": str(path),
        "pixels": pixels,
        "area_m2": session.area_m2(layer),
        "share": pixels / valid,
        "regions": len(session.regions(layer)),
        "method": extraction.method,
    }


def turn_record(session: Session, turn: Turn, folder: Path) -> dict[str, Any]:
    """One line of the JSON output."""
    facts = dict(turn.facts)
    if session.scene.assumptions:
        facts["assumptions"] = list(session.scene.assumptions)
    return {
        "turn": turn.number,
        "message": turn.message,
        "reply": turn.reply,
        "plan": turn.plan.to_dict() if turn.plan else None,
        "reader": turn.reader,
        "layers": [layer_record(session, layer, folder) for layer in session.layers],
        "active_layer": turn.active,
        "facts": facts,
        "seconds": turn.seconds,
        "error": turn.error,
    }


def ask(options: argparse.Namespace) -> int:
    """Run a conversation about one image; exit code 2 and one sentence when the image cannot be opened."""
    scratch = Path(tempfile.mkdtemp(prefix="spex-chat-"))
    try:
        settings = Settings(data_dir=scratch, **({"runtime": options.runtime} if options.runtime else {}))
        return _ask(options, settings)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _ask(options: argparse.Namespace, settings: Settings) -> int:
    from chat_app.memory.store import SessionStore

    store = SessionStore(settings)
    read_marks(options)  # what can't be read is told before the model is loaded
    bands = [name.strip() for name in options.bands.split(",")] if options.bands else None
    try:
        session = store.create(
            options.image, bands=bands, scale=options.scale, offset=options.offset, gsd_m=options.gsd
        )
    except ImagingError as error:
        print(error, file=sys.stderr)
        return BAD_IMAGE
    options.out.mkdir(parents=True, exist_ok=True)
    runtime: Runtime | None
    try:
        runtime = _load_runtime(settings)
    except ServingError as error:
        print(f"{error} Indices answer in its place.", file=sys.stderr)
        runtime = None
    conversation = Conversation(settings, runtime, store)
    if not options.json:
        for note in session.scene.assumptions:
            print(f"Note: {note}")
    for message in options.messages:
        _one_turn(conversation, session, message, options)
    if options.recipe:
        from chat_app.files.recipe import write_recipe

        write_recipe(session, options.recipe)
    if options.folder:
        from chat_app.files.bundles import write_folder

        write_folder(session, store.image_path(session.id), options.folder)
    conversation.close()
    return 0


def _one_turn(conversation: Conversation, session: Session, message: str, options: argparse.Namespace) -> None:
    for event in conversation.run_turn(session.id, message, marks=read_marks(options)):
        if isinstance(event, TurnDone):
            record = turn_record(session, event.turn, options.out)
            if options.json:
                print(json.dumps(record, ensure_ascii=False), flush=True)
            else:
                print(f"\n> {message}\n{event.turn.reply}")
                for layer in record["layers"]:
                    print(f"  {layer['name']}: {layer['mask']}")
        elif isinstance(event, TextDelta):
            logging.getLogger(__name__).debug("%s", event.text)


def compare(options: argparse.Namespace) -> int:
    """What changed between two images of one place; the indices answer where the model can't be loaded."""
    from chat_app.compare_command import compare as run_compare

    settings = Settings(**({"runtime": options.runtime} if options.runtime else {}))
    try:
        runtime: Runtime | None = _load_runtime(settings)
    except ServingError as error:
        print(f"{error} Indices answer in its place.", file=sys.stderr)
        runtime = None
    return run_compare(options, settings, runtime)


def evaluate(options: argparse.Namespace) -> int:
    """Measure the readers on written dialogues and print the report."""
    from chat_app.measuring.evaluate import evaluate_dialogues

    settings = Settings(**({"runtime": options.runtime} if options.runtime else {}))
    if options.descriptions:
        from chat_app.measuring.evaluate_descriptions import evaluate_descriptions

        report = evaluate_descriptions(_load_runtime(settings), options.descriptions, settings, every=options.every)
    else:
        report = evaluate_dialogues(_load_runtime(settings), options.dialogues, settings, every=options.every)
    if options.out:
        options.out.write_text(report, encoding="utf-8")
    print(report)
    return 0


def replay(options: argparse.Namespace) -> int:
    """Run a saved recipe on images; exit code 1 when any of them failed."""
    from tqdm import tqdm

    from chat_app.files.recipe import read_recipe
    from chat_app.files.recipe import replay as run_recipe
    from chat_app.memory.store import SessionStore

    steps = read_recipe(options.recipe)
    with tempfile.TemporaryDirectory(prefix="spex-replay-") as scratch:
        settings = Settings(data_dir=Path(scratch), **({"runtime": options.runtime} if options.runtime else {}))
        conversation = Conversation(settings, _load_runtime(settings), SessionStore(settings))
        rows = run_recipe(steps, options.images, conversation, options.out, progress=tqdm)
        conversation.close()
    failed = sorted({row["image"] for row in rows if row.get("error")})
    print(
        f"{len(options.images) - len(failed)} of {len(options.images)} images done; see {options.out / 'results.csv'}"
    )
    for row in rows:
        if row.get("error"):
            print(f"{row['image']}: {row['error']}", file=sys.stderr)
    return 1 if failed else 0


def _load_runtime(settings: Settings) -> Runtime:
    return load_runtime(
        settings.runtime, checkpoint=settings.checkpoint, cache_dir=settings.cache_dir, vllm_url=settings.vllm_url,
        mask_url=settings.mask_url, request_timeout_s=settings.request_timeout_s, device=settings.device,
    )  # fmt: skip


def _image_options(parser: argparse.ArgumentParser) -> None:
    """What the file does not say, and where the answer goes."""
    parser.add_argument("--out", type=Path, default=Path("spex-out"), help="folder for the masks")
    parser.add_argument("--json", action="store_true", help="JSON on standard output, an object a turn")
    parser.add_argument("--bands", help="band names in file order: blue,green,red,nir")
    parser.add_argument("--scale", type=float, help="reflectance = value * scale + offset")
    parser.add_argument("--offset", type=float)
    parser.add_argument("--gsd", type=float, help="pixel size in metres of a file without georeference")
    parser.add_argument("--runtime", choices=("auto", "served", "embedded"))


def read_marks(options: argparse.Namespace) -> Marks:
    """The clicks and the drawing that the options name. Raises ChatError for numbers that are none."""
    try:
        points = [[int(part) for part in click.split(",")] for click in options.click]
        box = [float(part) for part in options.box.split(",")] if options.box else []
        ring = [float(part) for part in options.polygon.split(",")] if options.polygon else []
        clicked = tuple((row, column) for row, column in points)
        corners = box_polygon(*box) if box else tuple(zip(ring[::2], ring[1::2], strict=True))
    except (ValueError, TypeError) as error:
        raise ChatError("--click takes ROW,COLUMN, --box four and --polygon an even count of numbers.") from error
    if any(part < 0 for place in (*clicked, *corners) for part in place):
        raise ChatError("Rows and columns count from 0; none may be negative.")
    return Marks(clicked, corners)


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m chat_app", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asking = commands.add_parser("ask", help="talk to one image without a browser")
    asking.add_argument("image", type=Path)
    asking.add_argument("messages", nargs="+", metavar="MESSAGE")
    asking.add_argument("--recipe", type=Path, help="save the conversation as a recipe for `replay`")
    asking.add_argument("--folder", type=Path, help="save image, layers, transcript and recipe in this folder")
    asking.add_argument("--click", action="append", default=[], metavar="ROW,COLUMN", help='what "this" means')
    asking.add_argument("--box", metavar="ROW,COLUMN,ROW,COLUMN", help='what "the box" means, in pixels')
    asking.add_argument("--polygon", metavar="ROW,COLUMN,…", help='what "the outline" means, in pixels')
    _image_options(asking)
    asking.set_defaults(run=ask)
    comparing = commands.add_parser("compare", help="what changed between two images of one place")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    comparing.add_argument("messages", nargs="+", metavar="MESSAGE")
    _image_options(comparing)
    comparing.set_defaults(run=compare)
    measuring = commands.add_parser("evaluate", help="measure the readers on written dialogues")
    measuring.add_argument("--dialogues", type=Path, default=Path("tests/dialogues"))
    measuring.add_argument(
        "--descriptions", type=Path, help="measure the truth of replies instead, on the images of training.spie.build"
    )
    measuring.add_argument("--every", type=int, default=1, help="take every n-th dialogue, or image")
    measuring.add_argument("--out", type=Path, help="write the report here too")
    measuring.add_argument("--runtime", choices=("auto", "served", "embedded"))
    measuring.set_defaults(run=evaluate)
    replaying = commands.add_parser("replay", help="run a saved conversation on other images")
    replaying.add_argument("recipe", type=Path)
    replaying.add_argument("images", type=Path, nargs="+")
    replaying.add_argument("--out", type=Path, required=True)
    replaying.add_argument("--runtime", choices=("auto", "served", "embedded"))
    replaying.set_defaults(run=replay)
    timing = commands.add_parser("bench", help="measure speed with simulated users")
    bench.add_options(timing)
    timing.set_defaults(run=bench.bench)
    parser.add_argument("--verbose", action="store_true", help="log to standard error")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR, stream=sys.stderr)
    try:
        return int(options.run(options))
    except (ChatError, ImagingError, ServingError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
