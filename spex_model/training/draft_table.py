"""The table of n-grams that lets vLLM check several tokens at a time: counted over the lessons' answers.

`python -m spex_model.training.draft_table` writes assets/weights/drafts.safetensors in a minute.
"""

import argparse
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from spex_model.model.draft_table import DRAFT_FILE, LONGEST
from spex_model.model.weights import ASSETS, build_checkpoint
from spex_model.training.train_language import Lesson, lessons

LESSONS = {"plans": 8000, "descriptions": 4000}


def count_ngrams(taught: Iterable[Lesson]) -> npt.NDArray[np.int32]:
    """(N, LONGEST + 1) int32: n-grams that occurred at least twice, -1 on their left, and what most often follows."""
    after: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for lesson in taught:
        tokens = lesson.prompt[-LONGEST:] + lesson.answer
        for end in range(LONGEST, len(tokens)):
            for length in range(1, LONGEST + 1):
                after[tuple(tokens[end - length : end])][tokens[end]] += 1
    rows = []
    for ngram, tokens_after in sorted(after.items()):
        token, times = tokens_after.most_common(1)[0]
        if times > 1:
            rows.append([*[-1] * (LONGEST - len(ngram)), *ngram, token])
    return np.array(rows, np.int32).reshape(-1, LONGEST + 1)


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.draft_table", description=__doc__)
    parser.add_argument("--export", type=Path, default=ASSETS)
    parser.add_argument("--seed", type=int, default=100)
    options = parser.parse_args()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(build_checkpoint())
    plans = itertools.islice(lessons(tokenizer, options.seed, 16, 1.0), LESSONS["plans"])
    descriptions = itertools.islice(lessons(tokenizer, options.seed + 1, 16, 0.0), LESSONS["descriptions"])
    options.export.mkdir(parents=True, exist_ok=True)
    save_file({"ngrams": count_ngrams(itertools.chain(plans, descriptions))}, options.export / DRAFT_FILE)


if __name__ == "__main__":
    main()
