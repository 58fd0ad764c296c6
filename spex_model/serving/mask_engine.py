"""What the mask service does, without HTTP: scenes in, states in, logits out.

Pixels and hidden-state files come from outside this process; both are checked here before torch sees them.
"""

from __future__ import annotations

import base64
import fcntl
import io
import math
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from spex_model.imaging.errors import ImagingError
from spex_model.imaging.scene import Scene
from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import SceneFeatures, decode_scene
from spex_model.serving import protocol
from spex_model.serving.embedded import MAX_STATES, Recent, prompt_points
from spex_model.serving.errors import BadRequest, TooLarge, UnknownImage, UnknownStates

WRITE_WAIT_S = 10.0


def unpack_scene(header: protocol.SceneHeader, body: bytes, max_bytes: int) -> Scene:
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
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
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
    """Refuse an array whose header announces more than its file holds, or than is taken."""
    if entry.file_size > max_bytes:
        raise TooLarge(f"The image unpacks to {entry.file_size:,} bytes; at most {max_bytes:,} are taken.")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
            raise BadRequest(f"{entry.filename} announces {shape} of {dtype} and holds something else.")


@contextmanager
def _written(lock_path: Path) -> Iterator[None]:
    """Wait until the writer has let go of a states file. Raises `UnknownStates` where nothing is written."""
    try:
        lock = lock_path.open()
    except OSError as error:
        raise UnknownStates("vLLM kept no hidden states for that answer; ask again.") from error
    with lock:
        patience = time.monotonic() + WRITE_WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > patience:
                    raise UnknownStates("vLLM is still writing the hidden states of that answer.") from error
                time.sleep(0.002)
        yield


@dataclass(frozen=True)
class _HeldImage:
    """An encoded scene and the most bytes that it will hold once all its tiles are encoded."""

    features: SceneFeatures
    num_bytes: int

    @classmethod
    def encode(cls, vision: SpexVision, scene: Scene) -> _HeldImage:
        features = SceneFeatures(vision, scene)
        if not bool(torch.isfinite(features.tokens).all()):
            raise BadRequest("Encoding the image gave values that aren't finite; the model can't see it.")
        tile = features.tile(features.windows[0])
        maps = sum(tensor.nbytes for tensor in (tile.embedding, tile.tokens, *tile.high_res))
        tiles = maps * min(len(features.windows), features.max_tiles)
        return cls(features, scene.reflectance.nbytes + scene.valid.nbytes + tiles)

    def describe(self, image_id: str, seconds: float = 0.0) -> protocol.EncodedImage:
        tokens = self.features.tokens.detach().float().cpu().clone()
        buffer = io.BytesIO()
        torch.save(tokens, buffer)
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        return protocol.EncodedImage(
            image_id=image_id, tokens_base64=text, num_tokens=len(tokens), encode_seconds=seconds
        )


class MaskEngine:
    """Encoded images and answers' states, and the model that makes masks of them.

    Any thread may call, but `encode` and `decode` one at a time: each uses all cores.
    """

    def __init__(self, vision: SpexVision, states_dir: Path, *, memory_mb: int = 2048, max_body_mb: int = 2048) -> None:
        self.max_body_bytes = max_body_mb << 20
        self._vision = vision
        self._states_dir = states_dir
        self._lock = threading.Lock()
        self._images: Recent[_HeldImage] = Recent(memory_mb << 20, cost=lambda image: image.num_bytes)
        self._states: Recent[torch.Tensor] = Recent(MAX_STATES)

    def count(self) -> tuple[int, int, int]:
        """Images, bytes of images and answers that are held."""
        with self._lock:
            return len(self._images), self._images.total, len(self._states)

    def _image(self, image_id: str) -> _HeldImage:
        with self._lock:
            image = self._images.recall(image_id)
        if image is None:
            raise UnknownImage("The image's features are no longer held; encode the image again.")
        return image

    def find(self, image_id: str) -> protocol.EncodedImage:
        """The tokens of an image that is held. Raises `UnknownImage`."""
        return self._image(image_id).describe(image_id)

    def encode(self, image_id: str, scene: Scene) -> protocol.EncodedImage:
        """Encode a scene and hold its features."""
        with suppress(UnknownImage):
            return self.find(image_id)
        started = time.monotonic()
        image = _HeldImage.encode(self._vision, scene)
        with self._lock:
            self._images.put(image_id, image)
        return image.describe(image_id, time.monotonic() - started)

    def keep_states(self, request: protocol.KeepStates) -> None:
        """Take over the states of one answer; its file is removed. Asking again changes nothing."""
        with self._lock:
            if self._states.recall(request.states_ref) is not None:
                return
        path = self._states_dir / f"{request.states_ref}.safetensors"
        lock_path = path.with_name(path.name + ".lock")
        try:
            with _written(lock_path):
                states = load_file(path)["hidden_states"]
        except (OSError, SafetensorError, KeyError) as error:
            raise UnknownStates("vLLM kept no whole hidden states for that answer; ask again.") from error
        finally:
            path.unlink(missing_ok=True)
            lock_path.unlink(missing_ok=True)
        end = request.prompt_tokens + request.generated
        width = self._vision.config.language_hidden_size
        if states.ndim != 3 or states.shape[1:] != (1, width) or len(states) < end:
            raise BadRequest(f"The hidden states have shape {tuple(states.shape)}; ({end}, 1, {width}) is needed.")
        # A copy, so that the prompt's states can go.
        said = states[request.prompt_tokens : end, 0].float().clone()
        if not bool(torch.isfinite(said).all()):
            raise UnknownStates("The hidden states of that answer hold NaN or infinity; ask again.")
        with self._lock:
            self._states.put(request.states_ref, said)

    def decode(self, request: protocol.DecodeRequest) -> npt.NDArray[np.float32]:
        """(H, W) float32 logits of one answer on the scene's grid."""
        image = self._image(request.image_id)
        with self._lock:
            states = self._states.recall(request.states_ref)
        if states is None:
            raise UnknownStates("What the model said is no longer held; ask again.")
        return decode_scene(image.features, states, prompt_points(request.points, request.boxes))

    def sweep(self, max_age_s: float) -> int:
        """Remove states files that nobody fetched, as aborted requests leave them; how many went."""
        swept = 0
        for path in (*self._states_dir.glob("*.safetensors"), *self._states_dir.glob("*.lock")):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > max_age_s:
                    path.unlink()
                    swept += 1
        return swept
