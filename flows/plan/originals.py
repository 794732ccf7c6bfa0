"""Pictures that a plan begins with: files and objects, each read for its digest and its size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flows.plan.ground import Ground, stop_if_wrong
from flows.plan.step import SourceImage
from flows.recipe.matrix import Variant
from flows.recipe.naming import legible
from flows.recipe.review import Review
from flows.sources.place import Place, S3Object, Seen, look_at
from flows.sources.remote import read_all


class Originals:
    """``unread`` are files that are no pictures, by input; what cannot be read is noted.

    Raises:
        RecipeError: objects in S3 that cannot be read.
    """

    def __init__(self, review: Review, ground: Ground) -> None:
        self.unread: dict[str, list[str]] = {}
        self._review = review
        self._found: dict[tuple[str, Place], SourceImage] = {}
        self._remote = self._read(ground)

    def of(self, name: str, variant: Variant) -> SourceImage:
        """An input's picture in a variant: as it was when the first asked for it."""
        path = variant.values[name].path or Path()
        found = self._found.get((name, path))
        if found is None:
            found = self._found[(name, path)] = self._look(name, path)
        return found

    def _look(self, name: str, path: Place) -> SourceImage:
        try:
            seen = self._remote[path] if isinstance(path, S3Object) else look_at(path)
            if seen.size is None:
                self.unread.setdefault(name, []).append(legible(path.name))
            return SourceImage(name, path, seen.digest, seen.reading, seen.size)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            text = f"'{legible(path.name)}' cannot be read ({reason}); expected a picture; "
            self._review.wrong(("inputs", name), f"{text}check the file")
            return SourceImage(name, path, "")

    def _read(self, ground: Ground) -> Mapping[S3Object, Seen]:
        """The objects that steps look at, all at once: a server is asked side by side."""
        nodes = ground.nodes.values()
        used = {source for node in nodes for source in node.sources}
        used |= {name for node in nodes for name in (node.mask, node.of) if name}
        places = {
            value.path: value.loc
            for name in used & ground.axes.keys()
            for value in ground.axes[name].values
            if isinstance(value.path, S3Object)
        }
        read, failures = read_all(places)
        for source, text in failures.items():
            self._review.wrong(places[source], text)
        stop_if_wrong(self._review, ground)
        return read
