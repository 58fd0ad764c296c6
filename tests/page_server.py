"""What the page's tests run against: a scene of lakes, and `python app.py` in a process of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import rasterio
from scipy.ndimage import gaussian_filter

ROOT = Path(__file__).parents[1]


def write_lakes(path, level=0.85):
    """A Sentinel-like scene with some lakes in green and bare land; a lower `level` lets them grow."""
    rng = np.random.default_rng(4)
    relief = gaussian_filter(rng.normal(size=(256, 256)), 16)
    water, green = relief > np.quantile(relief, level), gaussian_filter(rng.normal(size=(256, 256)), 7) > 0
    spectra = {  # water, vegetation, soil
        "blue": (0.06, 0.04, 0.12), "green": (0.07, 0.08, 0.16), "red": (0.03, 0.05, 0.22),
        "nir": (0.02, 0.42, 0.28), "swir1": (0.01, 0.20, 0.34),
    }  # fmt: skip
    options = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 400_000, 0, -10, 5_200_000)}
    with rasterio.open(path, "w", driver="GTiff", width=256, height=256, count=5, dtype="uint16", **options) as dataset:
        for number, (name, (wet, leaf, soil)) in enumerate(spectra.items(), start=1):
            band = np.where(water, wet, np.where(green, leaf, soil)) + rng.normal(0, 0.006, water.shape)
            dataset.write(np.clip(band * 10_000, 1, 10_000).astype(np.uint16), number)
            dataset.set_band_description(number, name)
        dataset.scales = [1e-4] * 5
    return path


class App:
    """`python app.py` on a free port; can be stopped and started again on the same data."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._log, self.data_dir = folder / "app.log", folder / "data"
        self._environment = os.environ | {
            "SPEX_PORT": str(self.port), "SPEX_HOST": "127.0.0.1", "SPEX_DATA_DIR": str(self.data_dir), "SPEX_RUNTIME": "embedded",
        }  # fmt: skip

    def start(self):
        with self._log.open("a") as log:
            command = [sys.executable, str(ROOT / "app.py")]
            self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        for _ in range(240):
            assert self._process.poll() is None, self._log.read_text()
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError("the page did not come up: " + self._log.read_text())

    def stop(self):
        self._process.terminate()
        self._process.wait(30)
