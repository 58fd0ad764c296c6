"""The truth of replies that `python -m spex_model.training.replies` cached: many texts, without running the model again."""

from collections import defaultdict
from pathlib import Path

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.training.datasets import UNKNOWN, Tile, load_imagery, synthetic_tiles
from spex_model.training.grounding.check import Tally
from spex_model.training.grounding.measures import index_mask
from spex_model.training.grounding.statements import find_statements
from spex_model.training.grounding.subject import Ground
from spex_model.training.replies import load_replies, tile_scene
from spex_model.training.synthesis import FIRST_EVALUATION_SEED

_SYNTHETIC = (range(0, 60), range(FIRST_EVALUATION_SEED + 500, FIRST_EVALUATION_SEED + 525))
"""Seeds of the synthetic tiles that `replies` draws, in its two calls."""


def _tiles(imagery: Path) -> dict[str, Tile]:
    made = [tile for seeds in _SYNTHETIC for tile in synthetic_tiles(iter(seeds), size=256)]
    return {f"{tile.source}/{tile.name}": tile for tile in load_imagery(imagery) + made}


def measure_replies(path: Path, imagery: Path) -> dict[str, dict[str, Tally]]:
    """Tallies of the held-out replies of a cache, held to the index of their prompts and to fully known labels."""
    tiles = _tiles(imagery)
    found: dict[str, dict[str, Tally]] = {"index": defaultdict(Tally), "labels": defaultdict(Tally)}
    for reply in load_replies(path):
        if not reply.held_out:
            continue
        tile, cover = tiles[reply.tile], reply.land_cover
        scene, labels = tile_scene(tile), tile.covers[LAND_COVERS.index(cover)]
        grounds = {"index": Ground(scene, cover, index_mask(scene, cover).mask)}
        if not (scene.valid & (labels == UNKNOWN)).any():
            grounds["labels"] = Ground(scene, cover, scene.valid & (labels == 1))
        for name, ground in grounds.items():
            statements, unread = find_statements(reply.text, ground)
            for row in ("all", f"land cover {cover}", f"source {tile.source}"):
                found[name][row].add(statements, unread, f"{reply.tile}/{cover}: {reply.text!r}")
    return found
