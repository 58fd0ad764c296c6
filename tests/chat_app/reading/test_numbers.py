"""Numbers in digits and words."""

import pytest

from chat_app.reading.numbers import numbers_said


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        ("the ten largest over 1,000 m²", {10, 1000}),
        ("moins de 1.000 m²", {1, 1000}),
        ("alles kleiner als zehn Quadratmeter raus", {10}),
        ("quita los de menos de treinta y cinco hectáreas", {35}),
        ("两百米以内", {200}),
        ("NDVI under -0.1", {-0.1}),
        ("0,25 ha", {0.25}),
    ],
)
def test_numbers_that_are_said(message, numbers):
    assert numbers <= numbers_said(message)


def test_no_number_is_invented():
    assert numbers_said("only the big lakes") == set()
