"""Write spectral instruction records from labelled images: prompts with measured facts, grounded answers, a page to browse.

`python -m spex_model.training.spie.build --imagery FOLDER --synthetic 100 --out FOLDER --seed 0`; images of one's own
come in by `--pair IMAGE LABELS`. The same arguments give the same records.
"""

import argparse
import itertools
import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rasterio.errors import NotGeoreferencedWarning

from spex_model.imaging.errors import ImagingError
from spex_model.training.spie.datasheet import write_datasheet
from spex_model.training.spie.page import draw_sample, write_page
from spex_model.training.spie.records import Record, sample_records, write_records
from spex_model.training.spie.samples import Sample, imagery_samples, pair_sample, synthetic_samples, write_sample

log = logging.getLogger(__name__)

_SAY_EVERY = 25


def build(samples: Iterable[Sample], out: Path, seed: int, command: str) -> list[Record]:
    """Write scenes, labels, pictures, records, datasheet and page of all samples into a folder; returns the records."""
    records: list[Record] = []
    images: dict[str, dict[str, Any]] = {}
    began = time.monotonic()
    for number, sample in enumerate(samples, start=1):
        write_sample(sample, out)
        images[sample.name] = draw_sample(sample, out)
        records += sample_records(sample, seed)
        if number % _SAY_EVERY == 0:
            log.info("%d images, %d records, %.0f s", number, len(records), time.monotonic() - began)
    write_records(records, out / "records.jsonl")
    (out / "datasheet.md").write_text(write_datasheet(records, command), encoding="utf-8")
    write_page(records, images, out)
    return records


def _samples(options: argparse.Namespace) -> Iterator[Sample]:
    sources: list[Iterable[Sample]] = [[pair_sample(*pair) for pair in options.pair]]
    if options.imagery:
        found = [sample for sample in imagery_samples(options.imagery) if sample.source not in options.without]
        sources.append(found[:: options.every])
    sources.append(synthetic_samples(options.synthetic, options.seed))
    yield from itertools.chain(*sources)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write; exit code 1 with one sentence when an image or its labels cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.spie.build", description=__doc__)
    parser.add_argument("--imagery", type=Path, help="labelled imagery (datasets.py describes its layout)")
    parser.add_argument("--every", type=int, default=1, help="take every n-th tile of the imagery")
    parser.add_argument(
        "--without", nargs="+", default=(), metavar="SOURCE", help="leave these sources out: buildings …"
    )
    parser.add_argument("--pair", nargs=2, type=Path, action="append", default=[], metavar=("IMAGE", "LABELS"),
                        help="an image and a raster of its labels, a band a land cover, named so; may be repeated")  # fmt: skip
    parser.add_argument("--synthetic", type=int, default=0, metavar="N", help="synthetic scenes")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    if not (options.imagery or options.pair or options.synthetic):
        parser.error("name --imagery FOLDER, --pair IMAGE LABELS or --synthetic N")
    told = [argument if not Path(argument).is_absolute() else "FOLDER" for argument in (arguments or sys.argv[1:])]
    command = " ".join(("python -m spex_model.training.spie.build", *told))
    try:
        records = build(_samples(options), options.out, options.seed, command)
    except ImagingError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(records)} records of {len({record.image for record in records})} images in {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
