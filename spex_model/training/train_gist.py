"""Train the gist: `python -m spex_model.training.train_gist` writes assets/weights/gist.safetensors in five minutes.

It learns from the lessons of the language model, `plan_data`; sketches that come up next to never are left to that.
"""

import argparse
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import SGDClassifier

from spex_model.model.gist import BUCKETS, GIST_FILE, Gist, counted, sketch_of
from spex_model.training.plan_data import PlanExample, plan_examples

log = logging.getLogger(__name__)

_RARE = 5
"""Sketches with fewer lessons are not learnt."""


def count_grams(examples: Sequence[PlanExample]) -> csr_matrix:
    """What `gist.counted` counts in each example, as rows of a sparse matrix (N, BUCKETS) float32."""
    buckets, values = zip(*(counted(one.message, one.layers, one.last) for one in examples), strict=True)
    ends = np.cumsum([0, *(len(row) for row in buckets)])
    return csr_matrix((np.concatenate(values), np.concatenate(buckets), ends), shape=(len(examples), BUCKETS))


def train_gist(examples: Sequence[PlanExample], epochs: int, seed: int) -> Gist:
    """Logistic regressions of one sketch against all others over tf-idf, coefficients rounded to eight bits."""
    sketches = np.array([sketch_of(json.loads(one.plan_json)) for one in examples])
    counts = Counter(sketches.tolist())
    learnt = np.array([counts[sketch] >= _RARE for sketch in sketches])
    matrix = count_grams(examples)
    weighting = TfidfTransformer().fit(matrix)
    # `counted` has taken the logarithm already, and the transformer brings rows to length one as `Gist.read` does.
    rows = weighting.transform(matrix).astype(np.float32)
    model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=epochs, tol=None, random_state=seed)
    model.fit(rows[learnt], sketches[learnt])
    coefficients = model.coef_.T
    scale = np.abs(coefficients).max(0).clip(1e-9) / 127
    return Gist(
        tuple(model.classes_.tolist()),
        np.round(coefficients / scale).astype(np.int8),
        scale.astype(np.float32),
        model.intercept_.astype(np.float32),
        weighting.idf_.astype(np.float32),
    )


def save_gist(gist: Gist, path: Path) -> None:
    """Write the weights, the sketches as metadata."""
    tensors = {name: np.ascontiguousarray(getattr(gist, name)) for name in ("coefficients", "scale", "bias", "idf")}
    save_file(tensors, path, metadata={"sketches": json.dumps(gist.sketches)})


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, train, and say how often the gist is right on lessons that it has not seen."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.train_gist", description=__doc__)
    parser.add_argument("--examples", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=GIST_FILE)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parser.parse_args(arguments)
    gist = train_gist(list(plan_examples(options.seed, options.examples)), options.epochs, options.seed)
    save_gist(gist, options.out)
    fresh = list(plan_examples(options.seed + 1, 1000))
    read = (gist.read(one.message, one.layers, one.last) for one in fresh)
    right = [
        max(told, key=told.__getitem__) == sketch_of(json.loads(one.plan_json))
        for told, one in zip(read, fresh, strict=True)
    ]
    log.info("%d sketches; %.1f %% of 1,000 other lessons right", len(gist.sketches), 100 * np.mean(right))


if __name__ == "__main__":
    main()
