"""The thumbnails of a run's folder: copies of the store's, so that the page needs nothing else."""

from __future__ import annotations

from PIL import Image

from flows.store.objects import Objects
from flows.store.runfolder import THUMBS, RunFolder
from flows.thumbs import Thumbnail


class Thumbnails:
    """What a run's folder has, by the digests of the pictures; each is brought there once."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        named = (Thumbnail.named(file) for file in run.names(THUMBS))
        self._there = {thumb.digest: thumb for thumb in named if thumb is not None}

    def get(self, digest: str) -> Thumbnail | None:
        """The thumbnail of a picture, if the folder has it."""
        return self._there.get(digest)

    def bring(self, objects: Objects, thumb: Thumbnail) -> bool:
        """Copy it from a store's home, unless the folder has one; whether it has one now.

        Raises:
            StoreError: the run's home is full, refuses writing, or is away.
        """
        if thumb.digest in self._there:
            return True
        if objects.where == self._run.objects.where:
            there = self._run.copy(thumb.name, thumb.name)
        else:
            held = objects.get(thumb.name)
            there = held is not None
            if held is not None:
                self._run.write(thumb.name, held.data)
        if there:
            self._there[thumb.digest] = thumb
        return there

    def make(self, digest: str, picture: Image.Image) -> None:
        """Make the one that no store has, from the picture."""
        thumb = Thumbnail.of(digest, *picture.size)
        self._run.write(thumb.name, thumb.encode(picture))
        self._there[digest] = thumb
