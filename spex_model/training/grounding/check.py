"""Are descriptions true? Every checkable statement of a text, held to the pixels, by code that shares nothing with its writer.

`python -m spex_model.training.grounding.check --records FOLDER` measures the records that `spie.build` wrote, from their
files alone; `--model` measures the shipped model's own free-running replies, `--replies FILE` those of a cache. What is
shown after the chat's check is measured by `python -m chat_app evaluate --descriptions FOLDER`.
"""

import argparse
import json
import logging
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from spex_model.imaging.scene import Scene
from spex_model.training.grounding.attributes import check_attributes
from spex_model.training.grounding.measures import index_mask
from spex_model.training.grounding.statements import FIGURE, find_statements
from spex_model.training.grounding.subject import Ground, Statement

log = logging.getLogger(__name__)

_SHOWN = 20


@dataclass
class Tally:
    """Statements of many texts: how many, how many true, by kind; figures that were not read; examples of what is false."""

    texts: int = 0
    total: Counter[str] = field(default_factory=Counter)
    true: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, statements: list[Statement], unread: list[str], name: str) -> None:
        """Count one text."""
        self.texts += 1
        for statement in statements:
            self.total[statement.kind] += 1
            self.true[statement.kind] += statement.true
            if not statement.true:
                self.wrong.append(f"{name} [{statement.kind}] said {statement.said!r}, measured {statement.measured}")
        self.unread += [f"{name}: {figure}" for figure in unread]

    @property
    def statements(self) -> int:
        return self.total.total()

    @property
    def share(self) -> float:
        """Share of true statements; 1 where there is none."""
        return self.true.total() / max(self.statements, 1) if self.statements else 1.0

    def row(self, name: str) -> str:
        """A line of `TABLE_HEAD`."""
        each = self.statements / max(self.texts, 1)
        return f"| {name} | {self.texts} | {self.statements} | {each:.1f} | {100 * self.share:.2f} % |"

    def figures(self) -> dict[str, Any]:
        """Plain values for JSON."""
        kinds = {kind: [self.true[kind], total] for kind, total in sorted(self.total.items())}
        return {"texts": self.texts, "statements": self.statements, "true": self.true.total(), "kinds": kinds, "unread": len(self.unread)}  # fmt: skip


TABLE_HEAD = "| texts | number | statements | a text | true |\n|---|---|---|---|---|"


def check_text(
    text: str,
    scene: Scene,
    mask: np.ndarray,
    land_cover: str,
    planes: Mapping[str, np.ndarray] | None = None,
    *,
    speaks_of_labels: bool = True,
) -> list[Statement]:
    """The checkable statements of a text about a mask (H, W) bool of a land cover, each with whether it is true.

    planes: labels of all land covers (H, W) uint8 in {0, 1, 255}; they decide on neighbours, and on absence where
    `speaks_of_labels`. Statements about "the index" are held to the documented index, not to the mask.
    """
    return find_statements(text, Ground(scene, land_cover, mask, planes or {}, speaks_of_labels))[0]


def kinds_table(tally: Tally) -> str:
    """The share of true statements of each kind as a Markdown table."""
    lines = ["| kind | statements | true |", "|---|---|---|"]
    for kind, total in sorted(tally.total.items()):
        lines.append(f"| {kind} | {total} | {100 * tally.true[kind] / total:.2f} % |")
    return "\n".join(lines)


def read_labelled(folder: Path, image: str) -> tuple[Scene, dict[str, np.ndarray]]:
    """A scene and its labels from the files of a records folder, by their own tags alone."""
    with rasterio.open(folder / "labels" / f"{image}.tif") as dataset:
        planes = {str(name): dataset.read(number) for number, name in enumerate(dataset.descriptions, start=1)}
    valid = planes.pop("valid") == 1
    with rasterio.open(folder / "scenes" / f"{image}.tif") as dataset:
        stored, calibrated = dataset.read().astype(np.float32), dataset.dtypes[0] == "uint16"
        gsd_m = dataset.tags().get("GSD_M")
        place = {"transform": dataset.transform, "crs": dataset.crs} if dataset.crs else {}
        bands = tuple(str(name) for name in dataset.descriptions)
    values = stored * np.float32(1e-4) if calibrated else stored / np.float32(255)
    values = np.where(valid, values, np.nan).astype(np.float32)
    size = None if gsd_m is None else float(gsd_m)
    return Scene(values, valid, bands, gsd_m=size, source=image, calibrated=calibrated, **place), planes


def figures_outside(answer: str, prompt: str) -> list[str]:
    """Figures of an answer that do not stand in its prompt as whole figures."""
    given = set(FIGURE.findall(prompt))
    return [figure for figure in FIGURE.findall(answer) if figure not in given]


def check_record(record: Mapping[str, Any], ground: Ground) -> tuple[list[Statement], list[str]]:
    """The statements of a record's answer, of its prompt's attribute list, and whether each figure stands in the prompt."""
    statements, unread = find_statements(record["answer"], ground)
    statements += check_attributes(record["prompt"], ground)
    for figure in figures_outside(record["answer"], record["prompt"]):
        statements.append(Statement("stands in the prompt", figure, False, "not in the prompt"))
    return statements, unread


def measure_records(folder: Path, every: int = 1) -> dict[str, Tally]:
    """Tallies of a records folder: "all", each task, each source. `every`: take every n-th image."""
    by_image: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with (folder / "records.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            by_image[record["image"]].append(record)
    tallies: dict[str, Tally] = defaultdict(Tally)
    for number, (image, records) in enumerate(list(by_image.items())[::every], start=1):
        scene, planes = read_labelled(folder, image)
        grounds: dict[tuple[str, str], Ground] = {}
        for record in records:
            key = record["land_cover"], record["speaks_of"]
            if key not in grounds:
                labels = key[1] == "labels"
                mask = scene.valid & (planes[key[0]] == 1) if labels else index_mask(scene, key[0]).mask
                grounds[key] = Ground(scene, key[0], mask, planes, labels)
            statements, unread = check_record(record, grounds[key])
            for group in ("all", f"task {record['task']}", f"source {record['source']}"):
                tallies[group].add(statements, unread, record["id"])
        if number % 25 == 0:
            log.info("%d images, %s", number, tallies["all"].row("all"))
    return dict(tallies)


def report(tallies: Mapping[str, Tally], title: str) -> str:
    """Tallies as Markdown: by group, by kind, what is false, and how many figures no pattern reads."""
    whole = tallies["all"]
    lines = [f"# {title}", "", TABLE_HEAD, *(tally.row(name) for name, tally in sorted(tallies.items()))]
    lines += ["", kinds_table(whole), "", f"Figures that no pattern reads: {len(whole.unread)}."]
    lines += [f"- {line}" for line in whole.unread[:_SHOWN]]
    lines += ["", f"False statements: {len(whole.wrong)}.", *(f"- {line}" for line in whole.wrong[:_SHOWN])]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print a report."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.grounding.check", description=__doc__)
    parser.add_argument("--records", type=Path, help="folder that spie.build wrote")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of the records")
    parser.add_argument("--model", action="store_true", help="measure the shipped model's replies")
    parser.add_argument("--replies", type=Path, help="measure the held-out replies of a cache that `replies` wrote")
    parser.add_argument("--imagery", type=Path, help="labelled imagery: with --model its held-out tiles too")
    parser.add_argument("--scenes", type=int, default=1, help="with --model: synthetic scenes of each variant")
    parser.add_argument("--tiles", type=int, default=8, help="with --model and --imagery: held-out tiles")
    parser.add_argument("--out", type=Path, help="write the report here too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    reports = []
    if options.records:
        reports.append(report(measure_records(options.records, options.every), "Records"))
    if options.model:
        from spex_model.training.grounding.model import measure_model, report_model

        reports.append(report_model(measure_model(options.imagery, options.scenes, options.tiles)))
    if options.replies:
        if not options.imagery:
            parser.error("--replies needs --imagery FOLDER, the images that the replies speak of")
        from spex_model.training.grounding.model import report_model
        from spex_model.training.grounding.replies import measure_replies

        reports.append(report_model(measure_replies(options.replies, options.imagery)))
    if not reports:
        parser.error("name --records FOLDER, --model or --replies FILE")
    text = "\n".join(reports)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
