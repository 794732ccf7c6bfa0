"""Pictures from anywhere, as the engine takes them: RGB, 8 bits, sRGB, upright.

Torch-free. Files are untrusted: only raster formats that Pillow or a named plugin of its decodes
are opened, sizes are checked before anything is decoded, and every failure names the file.
"""

from kontext_engine.errors import PictureError
from kontext_engine.picture.formats import FORMATS, SUFFIXES
from kontext_engine.picture.placing import picture_digest, place_picture
from kontext_engine.picture.reading import (
    FACTS_VERSION,
    PictureFacts,
    open_picture,
    picture_facts,
)

__all__ = [
    "FACTS_VERSION",
    "FORMATS",
    "SUFFIXES",
    "PictureError",
    "PictureFacts",
    "open_picture",
    "picture_digest",
    "picture_facts",
    "place_picture",
]
