"""Is the identity net worth believing? Finding held-out subjects again on other scenes.

Every held-out subject is rendered twice, at different places in different scenes. A picture of
the second set is right if its nearest picture of the first shows the same subject.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kontext_engine.evaluation.identity.net import Identity
from kontext_engine.evaluation.items import FIRST_SEED, Cast
from kontext_engine.training.looks import Look
from kontext_engine.training.scenes import SCENES

_GALLERY, _QUERY = FIRST_SEED + 500_000, FIRST_SEED + 600_000


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Held-out retrieval among ``subjects``, and what cosines of strangers look like.

    ``accuracy``: the nearest is the same subject. ``stranger_95`` is the 95th percentile of the
    cosine between pictures of *different* subjects: a likeness above it is a rare accident.
    """

    subjects: int
    accuracy: float
    same_median: float
    stranger_median: float
    stranger_95: float

    def as_json(self) -> dict[str, Any]:
        """For the report's JSON."""
        return {**asdict(self), "chance": 1 / self.subjects}


def measure_retrieval(
    identity: Identity, cast: Cast, size: tuple[int, int], count: int | None = None
) -> Retrieval:
    """Measure on the first ``count`` held-out subjects (all of them by default)."""
    chosen = cast.subjects[:count]
    scenes = list(SCENES)

    def shown(first: int, shift: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        pictures = [
            cast.studio.family(
                first + k, size, subject, [Look(scenes[(5 * k + shift) % len(scenes)])]
            ).pictures[0]
            for k, subject in enumerate(chosen)
        ]
        return identity.embed(np.stack(pictures))

    cosines = shown(_QUERY, 9) @ shown(_GALLERY, 0).T
    same = np.diag(cosines)
    strangers = cosines[~np.eye(len(chosen), dtype=bool)]
    return Retrieval(
        subjects=len(chosen),
        accuracy=float((cosines.argmax(1) == np.arange(len(chosen))).mean()),
        same_median=float(np.median(same)),
        stranger_median=float(np.median(strangers)),
        stranger_95=float(np.percentile(strangers, 95)),
    )
