"""Spectral priors become words (paper, section III-A): what the language model reads of an image and a land cover."""

from dataclasses import dataclass

from spex_model.imaging.indices import Prior, evidence_text, prior_for
from spex_model.imaging.regions import attributes_text, find_regions, label_regions
from spex_model.imaging.scene import Scene


@dataclass(frozen=True)
class SpectralWords:
    """The fields of prompts/extract.md, and the prior they were taken from; `regions` counts the prior's regions."""

    evidence: str
    attributes: str
    prior: Prior
    regions: int


def put_into_words(scene: Scene, land_cover: str, *, limit: int = 3) -> SpectralWords:
    """The evidence of a land cover and the attributes of its `limit` largest regions, as training and serving use them."""
    prior = prior_for(scene, land_cover)
    _, count = label_regions(prior.mask)
    regions = find_regions(prior.mask, scene, index_values=prior.values, limit=limit)
    return SpectralWords(evidence_text(prior, scene, count), attributes_text(regions, limit), prior, count)
