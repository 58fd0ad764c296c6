"""Guessing ahead: the longest known ending decides, and the shipped table guesses well enough to be worth its while."""

import itertools

import numpy as np
import pytest
from safetensors.numpy import save_file
from transformers import AutoTokenizer

from spex_model.model.draft_table import DRAFT_FILE, LONGEST, DraftTable
from spex_model.model.weights import build_checkpoint
from spex_model.training.draft_table import count_ngrams
from spex_model.training.train_language import Lesson, lessons


def test_the_longest_known_ending_decides():
    table = DraftTable({(1,): 2, (2,): 3, (9, 2): 7, (7,): 1})
    assert table.guess([1], 3) == [2, 3]
    assert table.guess([9, 2], 4) == [7, 1, 2, 3]
    assert table.guess([5], 4) == [] and table.guess([], 4) == [] and table.guess([1], 0) == []


def test_what_was_counted_is_what_is_guessed(tmp_path):
    twice, once = Lesson([1, 2, 3, 4], [5, 6, 7], False), Lesson([1, 2, 3, 4], [8], False)
    rows = count_ngrams([twice, once, twice])
    assert rows.shape[1] == LONGEST + 1 and rows.dtype == np.int32
    save_file({"ngrams": rows}, tmp_path / DRAFT_FILE)
    table = DraftTable.load(tmp_path / DRAFT_FILE)
    assert table.guess([1, 2, 3, 4], 8) == [5, 6, 7]


@pytest.mark.parametrize("plan_share", [0.0, 1.0])
def test_the_shipped_table_guesses_two_tokens_a_step_or_more(plan_share):
    checkpoint = build_checkpoint()
    table = DraftTable.load(checkpoint / DRAFT_FILE)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    steps = tokens = 0
    for lesson in itertools.islice(lessons(tokenizer, 4321, 16, plan_share), 100):
        done = 1
        while done < len(lesson.answer):
            guessed = table.guess(lesson.prompt + lesson.answer[:done], 5)
            right = itertools.takewhile(
                lambda pair: pair[0] == pair[1], zip(guessed, lesson.answer[done:], strict=False)
            )
            done += 1 + len(list(right))
            steps += 1
        tokens += len(lesson.answer)
    assert tokens / steps > 2
