"""The body of an upload: a scene's pixels from outside this process, checked before anything is allocated."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib

import numpy as np

from spex_model.imaging.errors import ImagingError
from spex_model.imaging.scene import Scene
from spex_model.serving.errors import BadRequest, TooLarge
from spex_model.serving.protocol import SceneHeader

UNREADABLE = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError, TypeError, ValueError, EOFError, OSError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""What zipfile and numpy raise for damaged bytes."""


def unpack_scene(header: SceneHeader, body: bytes, max_bytes: int) -> Scene:
    """The scene that `client.pack_scene` packed. Raises `BadRequest` for anything else, `TooLarge` for too much.

    The body is an npz of `reflectance` (C, H, W) float32 or float16, finite throughout, and `valid`, the bits of
    an (H, W) mask. Shapes are read before anything is allocated, and nothing is unpickled.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names = sorted(entry.filename for entry in archive.infolist())
            if names != ["reflectance.npy", "valid.npy"]:
                raise BadRequest(f"The pixels must be an npz of reflectance and valid; it holds {names[:4]}.")
            for entry in archive.infolist():
                _check_entry(archive, entry, max_bytes)
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            reflectance, packed = arrays["reflectance"], arrays["valid"]
    except UNREADABLE as error:
        raise BadRequest("The pixels can't be read: they are no whole npz file.") from error
    if reflectance.ndim != 3 or reflectance.dtype not in (np.float32, np.float16) or 0 in reflectance.shape:
        raise BadRequest(
            f"reflectance is {reflectance.dtype} {reflectance.shape}; float32 or float16 (C, H, W) needed."
        )
    height, width = reflectance.shape[1:]
    if packed.dtype != np.uint8 or packed.shape != (math.ceil(height * width / 8),):
        raise BadRequest(f"valid doesn't hold the packed bits of {height} x {width} pixels.")
    if not np.isfinite(reflectance).all():
        raise BadRequest("reflectance holds NaN or infinity; send 0 where a pixel isn't valid.")
    valid = np.unpackbits(packed, count=height * width).astype(bool).reshape(height, width)
    values = np.ascontiguousarray(reflectance, dtype=np.float32)
    try:
        return Scene(values, valid, header.bands, gsd_m=header.gsd_m, calibrated=header.calibrated)
    except ImagingError as error:
        raise BadRequest(str(error)) from error


def _check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, max_bytes: int) -> None:
    """Refuse an array packed in another way, or whose header announces more than its file holds or than is taken."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadRequest("The pixels are packed in a way that isn't taken; store or deflate them.")
    if entry.file_size > max_bytes:
        raise TooLarge(f"The image unpacks to {entry.file_size:,} bytes; at most {max_bytes:,} are taken.")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
            raise BadRequest(f"{entry.filename} announces {shape} of {dtype} and holds something else.")
