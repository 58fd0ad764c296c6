"""Reflectance of materials in ten bands, from published spectra, rounded to a hundredth or better.

Sources of the levels and shapes: water, Pope & Fry 1997 (doi:10.1364/AO.36.008710) and the turbid types of
Doxaran et al. 2002 (doi:10.1016/S0034-4257(01)00341-8); vegetation, Jacquemoud & Baret 1990
(doi:10.1016/0034-4257(90)90100-Z); soils, Stoner & Baumgardner 1981 (doi:10.2136/sssaj1981.03615995004500060031x);
urban materials, Herold et al. 2004 (doi:10.1016/j.rse.2004.02.013); snow, Warren 1982 (doi:10.1029/RG020i001p00067).
Single materials scatter by a third around such values; `synthesis` varies each object by that.
"""

import numpy as np

BANDS = ("blue", "green", "red", "rededge", "rededge2", "rededge3", "nir", "nir2", "swir1", "swir2")
"""Columns of the table: centres near 490, 560, 665, 705, 740, 783, 842, 865, 1610 and 2190 nm."""

CLASSES = ("water", "forest", "crop", "dry field", "grass", "bare soil", "road", "building", "snow", "cloud")
"""Exact label classes of synthetic scenes, by number."""

_TABLE: dict[str, tuple[str, tuple[float, ...]]] = {
    "clear water": ("water", (0.035, 0.030, 0.018, 0.013, 0.009, 0.008, 0.006, 0.006, 0.003, 0.002)),
    "coastal water": ("water", (0.060, 0.062, 0.035, 0.022, 0.014, 0.012, 0.010, 0.010, 0.004, 0.003)),
    "turbid water": ("water", (0.070, 0.105, 0.115, 0.100, 0.060, 0.055, 0.040, 0.038, 0.008, 0.005)),
    "muddy water": ("water", (0.080, 0.120, 0.160, 0.155, 0.115, 0.110, 0.085, 0.080, 0.012, 0.008)),
    "green water": ("water", (0.025, 0.060, 0.030, 0.050, 0.040, 0.032, 0.028, 0.026, 0.005, 0.003)),
    "dark water": ("water", (0.012, 0.011, 0.009, 0.009, 0.010, 0.010, 0.011, 0.011, 0.011, 0.008)),
    "conifers": ("forest", (0.018, 0.033, 0.022, 0.055, 0.150, 0.190, 0.215, 0.220, 0.095, 0.042)),
    "broadleaves": ("forest", (0.024, 0.050, 0.026, 0.095, 0.280, 0.360, 0.400, 0.410, 0.180, 0.080)),
    "green crop": ("crop", (0.030, 0.070, 0.035, 0.120, 0.350, 0.450, 0.480, 0.490, 0.200, 0.095)),
    "young crop": ("crop", (0.045, 0.080, 0.062, 0.135, 0.255, 0.305, 0.335, 0.345, 0.240, 0.150)),
    "stubble": ("dry field", (0.080, 0.120, 0.170, 0.200, 0.230, 0.250, 0.270, 0.280, 0.340, 0.260)),
    "meadow": ("grass", (0.038, 0.078, 0.055, 0.130, 0.265, 0.320, 0.345, 0.355, 0.245, 0.135)),
    "lawn": ("grass", (0.032, 0.075, 0.042, 0.125, 0.310, 0.390, 0.420, 0.430, 0.220, 0.110)),
    "dark soil": ("bare soil", (0.050, 0.070, 0.100, 0.118, 0.130, 0.145, 0.160, 0.165, 0.220, 0.190)),
    "light soil": ("bare soil", (0.100, 0.140, 0.200, 0.225, 0.250, 0.270, 0.290, 0.300, 0.380, 0.340)),
    "sand": ("bare soil", (0.160, 0.220, 0.290, 0.315, 0.335, 0.355, 0.370, 0.380, 0.450, 0.410)),
    "asphalt": ("road", (0.070, 0.080, 0.090, 0.096, 0.100, 0.105, 0.110, 0.110, 0.130, 0.130)),
    "concrete": ("road", (0.190, 0.230, 0.260, 0.270, 0.280, 0.285, 0.290, 0.290, 0.320, 0.290)),
    "red tiles": ("building", (0.070, 0.100, 0.200, 0.230, 0.250, 0.270, 0.290, 0.290, 0.340, 0.300)),
    "bright roof": ("building", (0.400, 0.450, 0.470, 0.475, 0.480, 0.480, 0.490, 0.490, 0.450, 0.400)),
    "dark roof": ("building", (0.050, 0.055, 0.060, 0.065, 0.070, 0.072, 0.075, 0.075, 0.100, 0.100)),
    "metal roof": ("building", (0.240, 0.265, 0.280, 0.285, 0.290, 0.290, 0.300, 0.300, 0.280, 0.250)),
    "snow": ("snow", (0.850, 0.850, 0.830, 0.820, 0.800, 0.780, 0.750, 0.730, 0.100, 0.080)),
    "cloud": ("cloud", (0.620, 0.600, 0.600, 0.600, 0.600, 0.600, 0.600, 0.600, 0.480, 0.380)),
}  # fmt: skip

MATERIALS = tuple(_TABLE)
MATERIAL_CLASS = np.array([CLASSES.index(name) for name, _ in _TABLE.values()], np.uint8)
REFLECTANCE = np.array([values for _, values in _TABLE.values()], np.float32)


def material(name: str) -> int:
    """Row of a material in `REFLECTANCE`."""
    return MATERIALS.index(name)
