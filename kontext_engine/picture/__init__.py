"""Pictures from anywhere, as the engine takes them: RGB, 8 bits, sRGB, upright.

Torch-free. Files are untrusted: only raster formats that Pillow or a named plugin of its decodes
are opened, sizes are checked before anything is decoded, and every failure names the file.
"""

from kontext_engine.errors import PictureError
from kontext_engine.picture.formats import FORMATS, MAX_PIXELS, SUFFIXES
from kontext_engine.picture.placing import picture_digest, place_picture
from kontext_engine.picture.reading import open_picture, reading_version

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "SUFFIXES",
    "PictureError",
    "open_picture",
    "picture_digest",
    "place_picture",
    "reading_version",
]
