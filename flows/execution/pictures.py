"""From a step to an edit request: its source pictures opened, its parents read from the store."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from flows.execution.asking import describe
from flows.execution.board import Board
from flows.recipe.place import Place, S3Object, SourceGone, StoredSource
from flows.recipe.remote import RemoteError, read_planned
from flows.recipe.step import ContextRef, ParentStep, SourceImage, Step
from flows.store.keyed import KeyedStore
from kontext_engine.api import EditRequest
from kontext_engine.errors import PictureError
from kontext_engine.picture import open_picture

Opened = Callable[[str, Image.Image], None]


class ContextPictures:
    """Opens what steps look at; each picture once, for as long as this object lives.

    ``opened`` is told each source picture by its digest.
    """

    def __init__(self, store: KeyedStore, board: Board, opened: Opened) -> None:
        self._store = store
        self._board = board
        self._tell = opened
        self._opened: dict[str, Image.Image] = {}
        self.pixels = 0

    def request(self, step: Step) -> EditRequest:
        """What the engine is asked for ``step``; its id is the step's key.

        Raises:
            PictureError: a source is missing, broken, or not the file that was planned with.
            BlobDamaged: a parent's picture is gone from the store.
        """
        params = step.params
        return EditRequest(
            id=step.key,
            prompt=params.prompt,
            seed=params.seed,
            steps=params.steps,
            contexts=tuple(self._open(ref) for ref in step.contexts),
            size=params.size,
            fit=params.fit,
            guidance=params.guidance,
            negative_prompt=params.negative_prompt,
            true_cfg=params.true_cfg,
        )

    def _open(self, ref: ContextRef) -> Image.Image:
        name = ref.key if isinstance(ref, ParentStep) else ref.digest
        if name not in self._opened:
            picture = self._parent(ref) if isinstance(ref, ParentStep) else self._source(ref)
            self._opened[name] = picture
            self.pixels += picture.width * picture.height
        return self._opened[name]

    def _source(self, ref: SourceImage) -> Image.Image:
        picture = open_source(ref)
        self._tell(ref.digest, picture)
        return picture

    def _parent(self, ref: ParentStep) -> Image.Image:
        # Always the stored 8-bit picture, also when it was made a moment ago: a resumed chain
        # must equal an undisturbed one.
        data = self._store.read(self._board.record(ref.key))
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return image.convert("RGB")


def open_source(ref: SourceImage) -> Image.Image:
    """An input's picture, if the file or object is still what the plan was keyed with.

    Raises:
        PictureError: missing, unreadable, changed since planning, or not a sound picture.
    """
    data = read_source(ref)
    try:
        return open_picture(data, shown(ref))
    except PictureError:
        raise
    except Exception as error:  # decoders of untrusted data raise nearly anything
        raise PictureError(f"{shown(ref)}: {describe(error)}") from error


def read_source(ref: SourceImage) -> bytes:
    """An input's bytes as the plan was keyed with them.

    Raises:
        PictureError: missing, unreadable, or changed since planning.
    """
    data = _read(ref.path, ref.digest, shown(ref))
    if hashlib.sha256(data).hexdigest() != ref.digest:
        what = "file" if isinstance(ref.path, Path) else "object"
        raise PictureError(
            f"{shown(ref)}: the {what} changed while the run was going on; run again to use it as "
            "it is now"
        )
    return data


def shown(ref: SourceImage) -> str:
    """What an input's picture is called in messages, which begin with it."""
    return f"{ref.file} (input '{ref.input}')"


def _read(path: Place | StoredSource, digest: str, name: str) -> bytes:
    try:
        return read_planned(path, digest) if isinstance(path, S3Object) else path.read_bytes()
    except (RemoteError, SourceGone) as error:
        raise PictureError(f"{name}: {error}") from None
    except FileNotFoundError:
        raise PictureError(f"{name}: the file is gone; put it back, then run again") from None
    except OSError as error:
        why = error.strerror or "unreadable"
        raise PictureError(f"{name}: cannot be read ({why})") from error


def encode_png(image: Image.Image) -> bytes:
    """The stored form of a picture: PNG without metadata; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", image.size, image.convert("RGB").tobytes()).save(
        buffer, "PNG", compress_level=4
    )
    return buffer.getvalue()
