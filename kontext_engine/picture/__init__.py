"""Pictures from anywhere, as the engine takes them: RGB, 8 bits, sRGB, upright.

Torch-free. Files are untrusted: only raster formats that Pillow or a named plugin of its decodes
are opened, sizes are checked before anything is decoded, and every failure names the file.
What is here reads headers only and loads no numpy; pixels are read by ``open_picture``
(``kontext_engine.picture.reading``).
"""

from kontext_engine.errors import PictureError
from kontext_engine.picture.facts import FACTS_VERSION, PictureFacts, picture_facts
from kontext_engine.picture.formats import FORMATS, SUFFIXES
from kontext_engine.picture.placing import picture_digest, place_picture

__all__ = [
    "FACTS_VERSION",
    "FORMATS",
    "SUFFIXES",
    "PictureError",
    "PictureFacts",
    "picture_digest",
    "picture_facts",
    "place_picture",
]
