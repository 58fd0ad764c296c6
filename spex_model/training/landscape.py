"""Shapes of synthetic landscapes: rivers, lakes, fields, forests, towns and roads as a map of materials."""

import itertools
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom
from scipy.spatial import cKDTree
from skimage.draw import line, polygon

from spex_model.training.spectra import material

FIELDS = ("green crop", "green crop", "young crop", "stubble", "meadow", "dark soil", "light soil")
ROOFS = ("red tiles", "red tiles", "dark roof", "bright roof", "metal roof", "dark roof")
WATERS = ("clear water", "coastal water", "turbid water", "muddy water", "green water")


def smooth_noise(shape: tuple[int, int], cells: float, rng: np.random.Generator) -> np.ndarray:
    """Spatially correlated noise (H, W) float32 of about zero mean and unit deviation, features about `cells` pixels wide."""
    coarse = (max(3, int(shape[0] / cells) + 3), max(3, int(shape[1] / cells) + 3))
    values = zoom(
        rng.normal(size=coarse).astype(np.float32),
        (shape[0] / coarse[0] * 1.01, shape[1] / coarse[1] * 1.01),
        order=1,
    )
    values = values[: shape[0], : shape[1]]
    if values.shape != shape:
        values = np.pad(values, ((0, shape[0] - values.shape[0]), (0, shape[1] - values.shape[1])), mode="edge")
    return values / 0.7


@dataclass
class Canvas:
    """A map of materials (H, W) uint8, a brightness factor (H, W) float32 and shade (1 = lit), drawn on in turn."""

    materials: np.ndarray
    brightness: np.ndarray
    rng: np.random.Generator
    metres: float
    shade: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.shade = np.ones(self.materials.shape, np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        return self.materials.shape[0], self.materials.shape[1]

    def paint(self, where: np.ndarray, name: str, spread: float = 0.12) -> None:
        """Give pixels a material, as one object of its own brightness."""
        self.materials[where] = material(name)
        self.brightness[where] = np.exp(self.rng.normal(0, spread))

    def cast_shadow(self, where: np.ndarray, rows: int, columns: int, strength: float = 0.45) -> None:
        """Shade what lies next to an object, away from the sun."""
        moved = np.zeros_like(where)
        height, width = where.shape
        source = where[max(0, -rows) : height - max(0, rows), max(0, -columns) : width - max(0, columns)]
        moved[max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)] = source
        self.shade[moved & ~where] = strength


def blank(size: int, metres: float, rng: np.random.Generator) -> Canvas:
    """An empty meadow of size x size pixels of `metres`."""
    shape = (size, size)
    return Canvas(np.full(shape, material("meadow"), np.uint8), np.ones(shape, np.float32), rng, metres)


def draw_fields(canvas: Canvas, field_m: float) -> None:
    """Polygons of different crops, some bare or dry, with rows."""
    rng, size = canvas.rng, canvas.shape[0]
    count = int(np.clip((size * canvas.metres / field_m) ** 2, 4, 900))
    points = rng.uniform(-0.1 * size, 1.1 * size, (count, 2))
    rows, columns = np.mgrid[0:size, 0:size]
    stretch = np.array([1.0, rng.uniform(0.6, 1.6)])
    _, owner = cKDTree(points * stretch).query(np.stack([rows.ravel(), columns.ravel()], 1) * stretch, workers=1)
    owner = owner.reshape(canvas.shape)
    kinds = np.array([material(FIELDS[rng.integers(len(FIELDS))]) for _ in range(count)], np.uint8)
    levels = np.exp(rng.normal(0, 0.15, count)).astype(np.float32)
    canvas.materials[:] = kinds[owner]
    angles, period = rng.uniform(0, np.pi, count), max(3.0, 6.0 / canvas.metres)
    phase = (rows * np.cos(angles[owner]) + columns * np.sin(angles[owner])) * (2 * np.pi / period)
    canvas.brightness[:] = levels[owner] * (1 + 0.06 * np.sin(phase))


def draw_forest(canvas: Canvas, share: float, crown_m: float = 12.0) -> None:
    """Woods where a smooth field is high, with crowns and gaps of shade."""
    noise = smooth_noise(canvas.shape, canvas.shape[0] / 5, canvas.rng) + 0.35 * smooth_noise(
        canvas.shape, canvas.shape[0] / 24, canvas.rng
    )
    where = noise > np.quantile(noise, 1 - share)
    canvas.paint(where, "conifers" if canvas.rng.random() < 0.4 else "broadleaves")
    crowns = smooth_noise(canvas.shape, max(2.0, crown_m / canvas.metres), canvas.rng)
    canvas.brightness[where] *= np.clip(1 + 0.16 * crowns[where], 0.45, 1.6)


def draw_bare_patch(canvas: Canvas, share: float) -> None:
    """Open ground, such as a quarry or a dry slope."""
    noise = smooth_noise(canvas.shape, canvas.shape[0] / 4, canvas.rng) + 0.3 * smooth_noise(
        canvas.shape, canvas.shape[0] / 30, canvas.rng
    )
    canvas.paint(noise > np.quantile(noise, 1 - share), ("dark soil", "light soil", "sand")[canvas.rng.integers(3)])


def draw_lake(canvas: Canvas, centre: tuple[float, float], radius: float, name: str) -> None:
    """A lake with an irregular shore: a circle whose radius is disturbed by a few harmonics."""
    rng = canvas.rng
    rows, columns = np.mgrid[0 : canvas.shape[0], 0 : canvas.shape[1]]
    angle = np.arctan2(rows - centre[0], columns - centre[1])
    reach = np.full(canvas.shape, radius)
    for order in range(2, 7):
        reach += radius * rng.normal(0, 0.22 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    ratio = rng.uniform(0.7, 1.4)
    where = np.hypot((rows - centre[0]) * ratio, (columns - centre[1]) / ratio) < reach
    canvas.paint(where, name)
    depth = distance_transform_edt(where)[where] / max(radius, 1)
    canvas.brightness[where] *= 1.25 - 0.35 * np.clip(depth * 2, 0, 1)


def _meander(size: int, rng: np.random.Generator) -> np.ndarray:
    """Points (N, 2) of a winding line from one edge to the opposite one."""
    along = np.linspace(-0.05, 1.05, 400)
    across = rng.uniform(0.2, 0.8) + rng.normal(0, 0.15) * (along - 0.5)
    for order in (1, 2, 3, 5, 8):
        across = across + rng.normal(0, 0.10 / order) * np.sin(2 * np.pi * order * along + rng.uniform(0, 6.3))
    points = np.stack([along, across], 1) * size
    return points[:, ::-1] if rng.random() < 0.5 else points


def draw_ribbon(canvas: Canvas, width: float, name: str, *, straight: bool = False) -> np.ndarray:
    """A river or road across the scene, `width` pixels wide; returns where it runs."""
    size = canvas.shape[0]
    points = _meander(size, canvas.rng)
    if straight:
        points = points[:: len(points) // 4]
    track = np.ones(canvas.shape, bool)
    for (row0, col0), (row1, col1) in itertools.pairwise(points):
        rows, columns = line(int(row0), int(col0), int(row1), int(col1))
        inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        track[rows[inside], columns[inside]] = False
    where = distance_transform_edt(track) <= max(width / 2, 0.5)
    canvas.paint(where, name, 0.08)
    return where


def _rectangle(
    centre: np.ndarray, sides: tuple[float, float], angle: float, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    half = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * np.array(sides) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = half @ turn.T + centre
    return polygon(corners[:, 0], corners[:, 1], shape)


def draw_house(
    canvas: Canvas, centre: np.ndarray, sides: tuple[float, float], angle: float, shadow: tuple[int, int]
) -> None:
    """One roof with two slopes of different light, and its shadow."""
    where = np.zeros(canvas.shape, bool)
    where[_rectangle(centre, sides, angle, canvas.shape)] = True
    if canvas.rng.random() < 0.9:
        canvas.cast_shadow(where, *shadow)
    canvas.paint(where, ROOFS[canvas.rng.integers(len(ROOFS))], 0.2)
    offset = np.array([np.cos(angle), np.sin(angle)]) * sides[0] / 4
    slope = np.zeros(canvas.shape, bool)
    slope[_rectangle(centre + offset, (sides[0] / 2, sides[1]), angle, canvas.shape)] = True
    canvas.brightness[slope & where] *= canvas.rng.uniform(0.6, 0.95)
    canvas.shade[where] = 1


def draw_town(canvas: Canvas, centre: np.ndarray, radius: float, house_m: tuple[float, float], block_m: float) -> None:
    """Streets in a turned grid with houses along them, inside a rough circle of `radius` pixels."""
    rng = canvas.rng
    angle, block = rng.uniform(0, np.pi / 2), block_m / canvas.metres
    rows, columns = np.mgrid[0 : canvas.shape[0], 0 : canvas.shape[1]]
    along = (rows - centre[0]) * np.cos(angle) + (columns - centre[1]) * np.sin(angle)
    across = -(rows - centre[0]) * np.sin(angle) + (columns - centre[1]) * np.cos(angle)
    inside = np.hypot(along, across) < radius * (1 + 0.15 * smooth_noise(canvas.shape, radius / 2 + 2, rng))
    canvas.paint(inside & (canvas.materials != material("sand")), "lawn")
    street = max(1.0, rng.uniform(6, 10) / canvas.metres)
    streets = inside & (
        (np.abs((along + block / 2) % block - block / 2) < street / 2)
        | (np.abs((across + block / 2) % (1.6 * block) - 0.8 * block) < street / 2)
    )
    canvas.paint(streets, "asphalt")
    low, high = house_m[0] / canvas.metres, house_m[1] / canvas.metres
    shadow = tuple(
        round(value) for value in rng.uniform(2, 6) / canvas.metres * np.array([np.cos(angle + 1), np.sin(angle + 1)])
    )
    step = (low + high) / 2 * rng.uniform(1.3, 1.9)
    spots = np.arange(-radius, radius, step)
    for u in spots:
        for v in spots:
            along_, across_ = u + rng.normal(0, step * 0.08), v + rng.normal(0, step * 0.08)
            position = centre + np.array(
                [
                    along_ * np.cos(angle) - across_ * np.sin(angle),
                    along_ * np.sin(angle) + across_ * np.cos(angle),
                ]
            )
            row, column = (int(value) for value in position)
            free = 0 <= row < canvas.shape[0] and 0 <= column < canvas.shape[1] and inside[row, column]
            if free and rng.random() < 0.85:
                sides = (rng.uniform(low, high), rng.uniform(low, high))
                clear = min(
                    abs((along_ + block / 2) % block - block / 2),
                    abs((across_ + block / 2) % (1.6 * block) - 0.8 * block),
                )
                if clear > street / 2 + min(sides) / 3:
                    draw_house(canvas, position, sides, angle, (shadow[0], shadow[1]))


def draw_trees(canvas: Canvas, count: int, radius_m: tuple[float, float]) -> None:
    """Single crowns with shade, for fine pixels."""
    rows, columns = np.mgrid[0 : canvas.shape[0], 0 : canvas.shape[1]]
    unfit = np.isin(canvas.materials, [material(name) for name in ("asphalt", "concrete", "dark water", *WATERS)])
    for _ in range(count):
        centre = canvas.rng.uniform(0, canvas.shape[0], 2)
        radius = canvas.rng.uniform(*radius_m) / canvas.metres
        box = tuple(slice(max(0, int(c - radius - 1)), int(c + radius + 2)) for c in centre)
        near = np.hypot(rows[box] - centre[0], columns[box] - centre[1]) < radius * canvas.rng.uniform(0.85, 1.1)
        where = np.zeros(canvas.shape, bool)
        where[box] = near & ~unfit[box]
        canvas.cast_shadow(where, int(radius * 0.7), int(radius * 0.5))
        canvas.paint(where, "broadleaves" if canvas.rng.random() < 0.7 else "conifers", 0.2)
        canvas.shade[where] = 1
    crowns = gaussian_filter(canvas.rng.normal(size=canvas.shape).astype(np.float32), max(0.6, 0.6 / canvas.metres))
    wooded = np.isin(canvas.materials, (material("broadleaves"), material("conifers")))
    canvas.brightness[wooded] *= np.clip(1 + 0.25 * crowns[wooded] / max(float(crowns.std()), 1e-6), 0.4, 1.7)
