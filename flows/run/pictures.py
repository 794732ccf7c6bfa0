"""From a step to an edit request: its source pictures opened, its parents read from the store."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from flows.plan.step import ContextRef, ParentStep, SourceImage, Step
from flows.run.asking import describe
from flows.run.board import Board
from flows.sources.place import Place, S3Object, SourceGone, StoredSource
from flows.sources.remote import RemoteError, read_planned
from flows.store.keyed import KeyedStore
from kontext_engine.api import EditRequest
from kontext_engine.errors import PictureError
from kontext_engine.geometry import MAX_PIXELS
from kontext_engine.picture import open_picture

Opened = Callable[[str, Image.Image], None]


class ContextPictures:
    """Opens what steps look at, and holds the latest pictures while there is room for them.

    ``opened`` is told each source picture by its digest; ``room`` is in pixels, and so is
    ``largest``, the most that a source may have.
    """

    def __init__(
        self, store: KeyedStore, board: Board, opened: Opened, room: int, largest: int
    ) -> None:
        self._store = store
        self._board = board
        self._tell = opened
        self._room = room
        self._largest = largest
        self._held: dict[str, Image.Image] = {}  # the latest last
        self._pixels = 0  # of them
        self._asked: dict[str, int] = {}  # pixels of what this call looks at

    def begin(self) -> None:
        """Begin another call of the engine."""
        self._asked.clear()

    @property
    def full(self) -> bool:
        """Whether this call's pictures fill the room."""
        return sum(self._asked.values()) > self._room

    def hold(self, key: str, picture: Image.Image) -> None:
        """A step's picture as it was stored a moment ago, 8 bits a channel: it need not be read."""
        self.drop(key)
        self._held[key] = picture
        self._pixels += picture.width * picture.height
        while self._pixels > self._room:
            self.drop(next(iter(self._held)))

    def drop(self, key: str) -> None:
        """Read it again where it is needed again."""
        picture = self._held.pop(key, None)
        if picture is not None:
            self._pixels -= picture.width * picture.height

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
        picture = self._held.get(name)
        if picture is None:
            picture = self._parent(ref) if isinstance(ref, ParentStep) else self._source(ref)
        self._asked[name] = picture.width * picture.height
        self.hold(name, picture)
        return picture

    def _source(self, ref: SourceImage) -> Image.Image:
        picture = open_source(ref, self._largest)
        self._tell(ref.digest, picture)
        return picture

    def _parent(self, ref: ParentStep) -> Image.Image:
        data = self._store.read(self._board.record(ref.key))
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return image.convert("RGB")


def open_source(ref: SourceImage, largest: int = MAX_PIXELS) -> Image.Image:
    """An input's picture, if the file or object is still what the plan was keyed with.

    Raises:
        PictureError: missing, unreadable, changed since planning, not a sound picture, or of more
            than ``largest`` pixels.
    """
    data = read_source(ref)
    try:
        return open_picture(data, shown(ref), largest)
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
