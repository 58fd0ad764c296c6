"""Calibration finds what was hidden in made-up logits."""

import numpy as np
import pytest

from spex_model.training.calibrate import calibration_error, fit, sigmoid


def test_it_recovers_temperature_and_bias():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, 40_000)
    truth = rng.random(40_000) < sigmoid(logits / 2.5 - 0.7)
    temperature, bias = fit(logits, truth)
    assert temperature == pytest.approx(2.5, rel=0.05) and bias == pytest.approx(-0.7, abs=0.05)
    after = calibration_error(sigmoid(logits / temperature + bias), truth)
    assert after < 0.01 < calibration_error(sigmoid(logits), truth)


def test_one_class_alone_gives_no_calibration():
    assert fit(np.arange(10.0), np.ones(10, bool)) is None
