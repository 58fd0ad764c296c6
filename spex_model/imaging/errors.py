"""Errors of the imaging package; every message is a sentence that the user may see.

ImagingError
├── SceneError        the file cannot be opened as an image
│   └── SceneTooLarge it has more pixels than are taken
├── BandsError        bands are unknown, or lack for what was asked
├── PixelSizeError    a size in metres was asked for, and the pixel size is not known
└── AlignmentError    two images can't be laid on each other
"""


class ImagingError(Exception):
    """Root of what goes wrong with images."""


class SceneError(ImagingError):
    """The file cannot be opened as an image."""


class SceneTooLarge(SceneError):
    """The image has more pixels than are taken."""


class BandsError(ImagingError):
    """Bands are unknown, or lack for what was asked."""


class PixelSizeError(ImagingError):
    """A size in metres was asked for, and the pixel size is not known."""


class AlignmentError(ImagingError):
    """Two images can't be laid on each other."""
