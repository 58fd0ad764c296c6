"""Local units of land become square metres; words that only look like them stay."""

import pytest

from chat_app.reading.local_units import in_square_metres


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ("去掉5亩以下的", "去掉3333平方米以下的"),
        ("小于十五亩的去掉", "小于10000平方米的去掉"),
        ("去掉半亩以下的", "去掉333平方米以下的"),
        ("drop anything under 5 dunams", "drop anything under 5000 m2"),
        ("only fields over half a feddan please", "only fields over 2100 m2 please"),
        ("2.5 rai or more", "4000 m2 or more"),
        ("how many dunams is that", "how many dunams is that"),
        ("3 raised beds and 2 railways", "3 raised beds and 2 railways"),
    ],
)
def test_amounts_are_put_into_square_metres(message, read):
    assert in_square_metres(message) == read
