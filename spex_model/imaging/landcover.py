"""The land covers that can be asked for."""

LAND_COVERS = ("water", "vegetation", "trees", "buildings", "bare soil")
"""Plain names used everywhere; "trees" is a part of "vegetation"."""
