"""The thumbnails of a run's folder: copies of the store's, so that the page needs nothing else.

Whoever made a picture, or opened a source for its first step, made its thumbnail: so nothing is
opened here, unless a step was made and yet the store has no thumbnail of what it looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from PIL import Image

from flows.plan.step import Plan, SourceImage
from flows.run.asking import describe
from flows.run.outcome import Outcome, State
from flows.run.pictures import open_source, shown
from flows.run.provenance import sources_of
from flows.run.thumbs import Thumbnail
from flows.store.base import StoreError
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Objects
from flows.store.runfolder import THUMBS, RunFolder
from kontext_engine.errors import PictureError

log = logging.getLogger(__name__)


class Thumbnails:
    """What a run's folder has, by the digests of the pictures; each is brought there once.

    ``files`` are those of the folder, if they are known.
    """

    def __init__(self, run: RunFolder, files: Iterable[str] | None = None) -> None:
        self.run = run
        self._there = _named(run.files() if files is None else files)

    def get(self, digest: str) -> Thumbnail | None:
        """The thumbnail of a picture, if the folder has it."""
        return self._there.get(digest)

    def bring(self, objects: Objects, thumb: Thumbnail) -> bool:
        """Copy it from a store's home; whether the folder has one now.

        Raises:
            StoreError: the run's home is full, refuses writing, or is away.
        """
        if objects.where == self.run.objects.where:
            there = self.run.copy(thumb.name, thumb.name)
        else:
            held = objects.get(thumb.name)
            there = held is not None
            if held is not None:
                self.run.write(thumb.name, held.data)
        if there:
            self._there[thumb.digest] = thumb
        return there

    def make(self, digest: str, picture: Image.Image) -> None:
        """Make the one that no store has, from the picture."""
        thumb = Thumbnail.of(digest, *picture.size)
        self.run.write(thumb.name, thumb.encode(picture))
        self._there[digest] = thumb


def bring_sources(
    plan: Plan, outcome: Outcome, thumbs: Thumbnails, objects: Objects, largest: int
) -> Mapping[str, str]:
    """Bring the thumbnails of all sources; by digest, why some could not be opened.

    ``largest`` is the most pixels that one may have.

    Raises:
        StoreError: the home fails.
    """
    sources = sources_of(plan, seen=True)
    lacking = {ref.digest: ref for ref in sources if thumbs.get(ref.digest) is None}
    problems: dict[str, str] = {}
    looked_at: set[str] = set()  # by steps that were made
    for key, end in outcome.steps.items():
        for ref in plan.steps[key].seen:
            if isinstance(ref, SourceImage):
                if end.record is not None:
                    looked_at.add(ref.digest)
                elif end.state is State.FAILED and end.reason.startswith(f"{shown(ref)}: "):
                    problems[ref.digest] = end.reason
    known = _listed(objects, lacking, near=thumbs.run.is_near)

    def bring(ref: SourceImage) -> str:
        if ref.digest in known and thumbs.bring(objects, known[ref.digest]):
            return ""
        return _open(ref, thumbs, largest) if ref.digest in looked_at else ""

    for ref, why in in_lanes(bring, lacking.values(), LANES):
        if why:
            problems.setdefault(ref.digest, why)
    return problems


def _listed(objects: Objects, digests: Iterable[str], *, near: bool) -> Mapping[str, Thumbnail]:
    """A store's thumbnails of these pictures; ``near``, one listing costs less than a few."""
    prefixes = [f"{THUMBS}/{digest}-" for digest in digests]
    asked = [f"{THUMBS}/"] if near and prefixes else prefixes
    found = in_lanes(lambda prefix: [one.name for one in objects.list(prefix)], asked, LANES)
    return _named(name for _, names in found for name in names)


def _named(names: Iterable[str]) -> dict[str, Thumbnail]:
    found = (Thumbnail.named(name.removeprefix(f"{THUMBS}/")) for name in names)
    return {thumb.digest: thumb for thumb in found if thumb is not None}


def _open(ref: SourceImage, thumbs: Thumbnails, largest: int) -> str:
    """Make its thumbnail here; why it could not be opened."""
    try:
        thumbs.make(ref.digest, open_source(ref, largest))
    except PictureError as error:
        return str(error)
    except StoreError:
        raise
    except Exception as error:
        log.debug("no thumbnail of a source", exc_info=True)
        return f"{shown(ref)}: {describe(error)}"
    return ""
