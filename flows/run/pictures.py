"""From a step to an edit request: its source pictures opened, its parents read from the store."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from flows.plan.step import ContextRef, ParentStep, SourceImage, Step
from flows.run.asking import describe
from flows.run.board import Board
from flows.run.regions import Work, told
from flows.sources.cache import default_folder
from flows.sources.place import Place, S3Object, SourceGone, StoredSource
from flows.sources.remote import RemoteError, read_planned
from flows.store.keyed import KeyedStore
from kontext_engine.api import EditRequest, EditResult
from kontext_engine.errors import PictureError
from kontext_engine.files import write_whole
from kontext_engine.geometry import MAX_PIXELS
from kontext_engine.picture.reading import open_picture
from kontext_engine.region import on_white
from kontext_engine.spec import ModelSpec

_FLAT = " on white"  # beside the name of a picture that has an alpha

Opened = Callable[[str, Image.Image], None]


class ContextPictures:
    """Opens what steps look at, and holds the latest pictures while there is room for them.

    ``opened`` is told each picture to look at by its digest: sources, and what differs from one
    whose parts are kept; ``room`` is in pixels, and so is
    ``largest``, the most that a source may have. ``proofs`` tell, by key, what regions kept.
    """

    def __init__(
        self,
        store: KeyedStore,
        board: Board,
        opened: Opened,
        model: ModelSpec,
        *,
        room: int,
        largest: int,
    ) -> None:
        self.proofs: dict[str, Mapping[str, Any]] = {}
        self._model = model
        self._works: dict[str, Work] = {}  # of this call
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
        self._works.clear()

    @property
    def full(self) -> bool:
        """Whether this call's pictures fill the room."""
        return sum(self._asked.values()) > self._room

    def hold(self, key: str, picture: Image.Image) -> None:
        """A step's picture as it was stored a moment ago, 8 bits a channel: it need not be read."""
        self._release(key)
        self._held[key] = picture
        self._pixels += picture.width * picture.height
        while self._pixels > self._room:
            self._release(next(iter(self._held)))

    def drop(self, key: str) -> None:
        """Read it again where it is needed again."""
        self._release(key)
        self._release(key + _FLAT)

    def _release(self, name: str) -> None:
        picture = self._held.pop(name, None)
        if picture is not None:
            self._pixels -= picture.width * picture.height

    def request(self, step: Step) -> EditRequest:
        """What the engine is asked for ``step``; its id is the step's key.

        Raises:
            PictureError: a source is missing, broken, or not the file that was planned with.
            BlobDamaged: a parent's picture is gone from the store.
        """
        params = step.params
        if step.made is not None:
            raise PictureError(
                f"the picture that was picked ({step.label}) is gone from the store; pick again"
            )
        if step.operation == "judge":
            return self._look(step)
        shown, mask = [self._on_white(ref) for ref in step.pictures], None
        if step.region is not None:
            named = self._mask(step.contexts[-1]) if step.region.masked else None
            try:
                source = self._open(step.contexts[0])
                work = Work.begin(step.region, source, named, self._model.pixel_area)
            except PictureError as error:
                raise PictureError(f"{_kind(step)}: {error}") from None
            self._works[step.key] = work
            shown[0] = work.view(source)
            mask = work.mask
        return EditRequest(
            id=step.key,
            prompt=params.prompt,
            seed=params.seed,
            steps=params.steps,
            contexts=tuple(shown),
            size=params.size,
            fit=params.fit,
            guidance=params.guidance,
            negative_prompt=params.negative_prompt,
            true_cfg=params.true_cfg,
            mask=mask,
            cutout=step.method,
            cutter=_cutter_file(step.cutter) if step.cutter else "",
        )

    def _look(self, step: Step) -> EditRequest:
        """What a judge is shown: the candidate, what it is compared with, and what was kept."""
        shown = [self._on_white(ref) for ref in step.pictures]
        mask = None
        if step.region is not None:
            named = self._mask(step.contexts[-1]) if step.region.masked else None
            work = Work.begin(step.region, self._open(step.contexts[1]), named, sys.maxsize)
            mask = work.kept
        return EditRequest(
            step.key, step.params.prompt, 0, 0, tuple(shown), mask=mask, judge=step.method
        )

    def _mask(self, ref: ContextRef) -> Image.Image:
        """A mask; a cutout's is its alpha, whatever colours it has."""
        picture = self._open(ref)
        cut = isinstance(ref, ParentStep) and picture.mode == "RGBA"
        return picture.getchannel("A") if cut else picture

    def finished(self, step: Step, result: EditResult) -> tuple[EditResult, bytes]:
        """What an engine answered as it is to be stored, and the bytes of the picture.

        Raises:
            PictureError: the cut's own picture cannot be read any more.
            PromiseBroken: what a region keeps would not be the same.
        """
        if step.operation == "cutout":
            cut = self._open(step.contexts[0]).convert("RGBA")
            alpha = ImageChops.darker(cut.getchannel("A"), result.image.convert("L"))
            cut.putalpha(alpha)
            return replace(result, image=cut), encode_png(cut)
        if step.operation == "judge":  # its picture is the one that it looked at
            seen = self._open(step.contexts[0])
            return replace(result, image=seen), encode_png(seen)
        work = self._works.pop(step.key, None)
        if work is None:
            picture = result.image.convert("RGB")
            return replace(result, image=picture), encode_png(picture)
        picture, notes = work.finished(result.image.convert("RGB"))
        blob = encode_png(picture)
        proof, shown = work.proof(blob)
        self.proofs[step.key] = proof
        self._tell(proof["difference"], shown)
        return replace(result, image=picture, notes=(*result.notes, *notes, *told(proof))), blob

    def _on_white(self, ref: ContextRef) -> Image.Image:
        """A picture as the model is shown it: one object for all requests that look at it."""
        picture = self._open(ref)
        if picture.mode == "RGB":
            return picture
        name = (ref.key if isinstance(ref, ParentStep) else ref.digest) + _FLAT
        flat = self._held.get(name) or on_white(picture)
        self.hold(name, flat)
        return flat

    def _open(self, ref: ContextRef) -> Image.Image:
        name = ref.key if isinstance(ref, ParentStep) else ref.digest
        picture = self._held.get(name)
        if picture is None:
            picture = self._parent(ref) if isinstance(ref, ParentStep) else self._source(ref)
        self._asked[name] = picture.width * picture.height
        self.hold(name, picture)
        return picture

    def _source(self, ref: SourceImage) -> Image.Image:
        picture = open_source(ref, self._largest, flat=False)
        self._tell(ref.digest, picture)
        return picture

    def _parent(self, ref: ParentStep) -> Image.Image:
        data = self._store.read(self._board.record(ref.key))
        return decode_png(data)


def open_source(ref: SourceImage, largest: int = MAX_PIXELS, *, flat: bool = True) -> Image.Image:
    """An input's picture, if the file or object is still what the plan was keyed with.

    RGB; unless ``flat``, RGBA where it has transparency.

    Raises:
        PictureError: missing, unreadable, changed since planning, not a sound picture, or of more
            than ``largest`` pixels.
    """
    data = read_source(ref)
    try:
        return open_picture(data, shown(ref), largest, flat=flat)
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
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    buffer = io.BytesIO()
    bare = Image.frombytes(mode, image.size, image.convert(mode).tobytes())
    bare.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def decode_png(data: bytes) -> Image.Image:
    """A stored picture: RGB, or RGBA where it has an alpha."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return image.convert("RGBA" if image.mode == "RGBA" else "RGB")


def _cutter_file(ref: SourceImage) -> str:
    """A model that cuts, where an engine process of this machine can open it."""
    if isinstance(ref.path, Path):
        return str(ref.path.absolute())  # whoever opens it looks at its digest
    file = default_folder().with_name("models") / f"{ref.digest}.onnx"
    if not file.is_file():
        write_whole(file, read_source(ref))
    return str(file)


def _kind(step: Step) -> str:
    return "keep" if step.region is not None and step.region.keeps else "region"
