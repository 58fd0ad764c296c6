"""What people read is held to the mask: false words of the model are counted, and what is shown is measured apart."""

import pytest

from chat_app.measuring.evaluate_descriptions import (
    AFTER,
    BEFORE,
    evaluate_descriptions,
    held_out_images,
    measure_descriptions,
)
from spex_model.training.spie.build import build
from spex_model.training.spie.samples import synthetic_samples

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("records")
    build(synthetic_samples(5, 4, size=96), out, 0, "made by a test")
    return out


def test_only_held_out_images_are_asked(folder):
    [name] = held_out_images(folder)
    assert name.startswith("synthetic-") and int(name.rsplit("-", 1)[1]) >= 9000


def test_false_words_are_counted_before_the_check_and_gone_after_it(folder, settings, runtime):
    runtime.spoken = "I see water in 9999 regions. The largest is huge and lies in the top-left. The second is huge and lies in the top-left."
    found = measure_descriptions(runtime, folder, settings)
    before, after = found[BEFORE]["all"], found[AFTER]["all"]
    assert before.true["count"] == 0 < before.total["count"] and before.share < 1
    assert after.share == 1 and after.statements > before.texts and after.total["area"], after.wrong


def test_the_report_shows_both_sides(folder, settings, runtime):
    text = evaluate_descriptions(runtime, folder, settings)
    assert BEFORE in text and AFTER in text and "| count |" in text
