"""The source pictures of a run, for its page: their thumbnails, and why some could not be opened.

Whoever opened a source for its first step made its thumbnail, and a step's record tells how large
the source was: so nothing is opened here, unless a step was made and yet no thumbnail is there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping

from flows.execution.asking import describe
from flows.execution.outcome import Outcome, State
from flows.execution.pictures import open_source, shown
from flows.recipe.step import Plan, SourceImage, Step
from flows.report.thumbs import Thumbnails
from flows.store.base import StoreError
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Objects
from flows.store.record import Record
from flows.store.runfolder import THUMBS
from flows.thumbs import Thumbnail
from kontext_engine.errors import PictureError

log = logging.getLogger(__name__)


def bring_sources(
    plan: Plan, outcome: Outcome, thumbs: Thumbnails, objects: Objects, *, near: bool
) -> Mapping[str, str]:
    """Bring the thumbnails of all sources; by digest, why some could not be opened.

    ``near``: listing ``objects`` once costs less than asking for a few.

    Raises:
        StoreError: the home fails.
    """
    sources = {ref.digest: ref for step in plan.steps.values() for ref in _sources(step)}
    lacking = [digest for digest in sources if thumbs.get(digest) is None]
    sized = dict(_sized(plan, outcome, frozenset(lacking)))
    unsized = [digest for digest in lacking if digest not in sized]
    known = sized | _listed(objects, unsized, near=near)

    def bring(thumb: Thumbnail) -> str:
        if thumbs.bring(objects, thumb):
            return ""
        return _open(sources[thumb.digest], thumbs) if thumb.digest in sized else ""

    problems = dict(_blamed(plan, outcome))
    for thumb, why in in_lanes(bring, known.values(), LANES):
        if why:
            problems.setdefault(thumb.digest, why)
    return problems


def _sources(step: Step) -> Iterator[SourceImage]:
    return (ref for ref in step.contexts if isinstance(ref, SourceImage))


def _sized(plan: Plan, outcome: Outcome, wanted: frozenset[str]) -> Iterator[tuple[str, Thumbnail]]:
    """What the records of made steps tell of the pictures they looked at."""
    for key, end in outcome.steps.items():
        if end.record is None:
            continue
        for place, ref in enumerate(plan.steps[key].contexts):
            if isinstance(ref, SourceImage) and ref.digest in wanted:
                size = _size(end.record, place)
                if size is not None:
                    yield ref.digest, Thumbnail.of(ref.digest, *size)


def _size(record: Record, place: int) -> tuple[int, int] | None:
    try:
        width, height = record.geometry["contexts"][place]["source"]
        size = int(width), int(height)
    except (LookupError, TypeError, ValueError):  # of a release that told other things
        return None
    return size if min(size) > 0 else None


def _listed(objects: Objects, digests: Iterable[str], *, near: bool) -> dict[str, Thumbnail]:
    """The thumbnails of pictures whose size is not known, by asking for their names."""
    asked = frozenset(digests)
    prefixes = [f"{THUMBS}/"] if near else [f"{THUMBS}/{digest}-" for digest in sorted(asked)]
    found: dict[str, Thumbnail] = {}
    if asked:
        for _, entries in in_lanes(lambda prefix: list(objects.list(prefix)), prefixes, LANES):
            for entry in entries:
                thumb = Thumbnail.named(entry.name.removeprefix(f"{THUMBS}/"))
                if thumb is not None and thumb.digest in asked:
                    found[thumb.digest] = thumb
    return found


def _blamed(plan: Plan, outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Sources that a failed step names as the reason."""
    for key, end in outcome.steps.items():
        if end.state is State.FAILED:
            for ref in _sources(plan.steps[key]):
                if end.reason.startswith(f"{shown(ref)}: "):
                    yield ref.digest, end.reason


def _open(ref: SourceImage, thumbs: Thumbnails) -> str:
    """Make its thumbnail here; why it could not be opened."""
    try:
        thumbs.make(ref.digest, open_source(ref))
    except PictureError as error:
        return str(error)
    except StoreError:
        raise
    except Exception as error:
        log.debug("no thumbnail of a source", exc_info=True)
        return f"{shown(ref)}: {describe(error)}"
    return ""
