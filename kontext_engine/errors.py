"""What an engine raises on purpose, for a person to read.

EngineError
 ├─ RequestError       this request cannot be done; its batch-mates are unaffected
 │   ├─ GeometryError  a size or an aspect that cannot be made (also a ValueError)
 │   └─ PictureError   a picture that cannot be read (also a ValueError)
 ├─ ModelError         the model folder cannot be used (missing, wrong layout, wrong weights)
 └─ Cancelled          the caller's step callback asked to stop
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of everything an engine raises on purpose."""


class RequestError(EngineError):
    """One request cannot be carried out; its batch-mates are unaffected."""


class GeometryError(RequestError, ValueError):
    """A size or an aspect that cannot be made; the message names the sizes that can."""


class PictureError(RequestError, ValueError):
    """A picture that cannot be read; the message names the file."""


class ModelError(EngineError):
    """The model cannot be loaded; the message says what was expected and what to do."""


class Cancelled(EngineError):  # noqa: N818 - a request of the caller, not a fault
    """Raised by a step callback to stop the engine within one denoise step."""
