"""Names of bands as people and files write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_model.imaging.bands import BAND_CODES, OTHER_BANDS, SLOTS, band_code, normalise_band_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("B", "blue"), ("Green", "green"), ("rouge", "red"), ("Near Infra-Red", "nir"), ("near infrared (842 nm)", "nir"),
        ("nir08", "nir"), ("nir_842", "nir"), ("infra-red", "nir"), ("Narrow NIR (865 nm)", "nir2"), ("NIR 2", "nir2"),
        ("Red Edge", "rededge"), ("Red Edge 705 nm", "rededge"), ("B5 Red Edge 1 (705nm)", "rededge"),
        ("vegetation red edge 2", "rededge2"), ("swir16", "swir1"), ("SWIR", "swir1"), ("SWIR 1610 nm", "swir1"),
        ("swir22", "swir2"), ("SWIR 2 (2190 nm)", "swir2"), ("SWIR 2190 nm", "swir2"), ("SWIR 22 OLI", "swir2"),
        ("Short-wave infrared 2 (B12)", "swir2"), ("Short Wave Infrared (2.2 um)", "swir2"), ("mid-infrared", "swir1"),
        ("Thermal Infrared (10.9 um)", "thermal"), ("coastal_blue", "coastal"), ("Coastal aerosol", "coastal"),
        ("green_i", "green2"), ("Water vapor", "watervapour"), ("nir09", "watervapour"), ("Band 1: blue", "blue"),
    ],
)  # fmt: skip
def test_written_names_are_understood(text, name):
    assert normalise_band_name(text) == name


@pytest.mark.parametrize(
    "text", ["", "VV", "elevation", "B4", "mask", "cloud mask", "SR_QA_AEROSOL", "red and green", "Band 3"]
)
def test_what_names_no_band_stays_unnamed(text):
    assert normalise_band_name(text) is None


@pytest.mark.parametrize("name", SLOTS + OTHER_BANDS)
def test_canonical_names_are_their_own_names(name):
    assert normalise_band_name(name) == normalise_band_name(name.upper()) == name


@pytest.mark.parametrize(
    ("text", "code"),
    [("B02", "b2"), ("b8a", "b8a"), ("SR_B4", "b4"), ("ST_B10", "b10"), ("band 2", "b2"), ("Band_7", "b7"), ("B08_10m", "b8"),
     ("T32TQM_20230101T100031_B11", "b11"), ("blue", None), ("B", None), ("xb2", None), ("band", None)],
)  # fmt: skip
def test_sensor_numbers(text, code):
    assert band_code(text) == code


def test_every_sensor_number_has_a_known_name():
    names = {name for table in BAND_CODES.values() for name in table.values()}
    assert names <= set(SLOTS + OTHER_BANDS)
    assert BAND_CODES["sentinel2"]["b8"] == BAND_CODES["landsat89"]["b5"] == BAND_CODES["landsat47"]["b4"] == "nir"


@given(st.text(max_size=300))
def test_any_text_gives_a_known_name_or_none(text):
    assert normalise_band_name(text) in (None, *SLOTS, *OTHER_BANDS)
    code = band_code(text)
    assert code is None or code.startswith("b")
