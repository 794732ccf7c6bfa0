"""What of a run has been approved: by the store's decisions, now, and not when it was made."""

from __future__ import annotations

from dataclasses import dataclass, field

from flows.decisions.decided import Decided
from flows.decisions.ledger import read_ledger
from flows.run.manifest import Manifest
from flows.store.objects import Objects


@dataclass(frozen=True, slots=True)
class Approved:
    """``paths`` are the outputs whose pictures are approved; ``left`` tells of those that were
    approved as another picture, of a re-roll or a change since.
    """

    paths: frozenset[str]
    left: tuple[str, ...] = field(default=())


def decided_of(manifest: Manifest, objects: Objects) -> Decided:
    """The decisions about a run's recipe.

    Raises:
        StoreError: the store fails.
    """
    ledger = read_ledger(objects, manifest.project, manifest.recipe)
    return Decided(manifest.project, manifest.recipe, manifest.recipe_file, ledger)


def approvals_of(manifest: Manifest, objects: Objects) -> dict[str, tuple[str, str]]:
    """Who approved, and when, by the keys of pictures.

    Raises:
        StoreError: the store fails.
    """
    found = decided_of(manifest, objects).approvals(manifest.depends)
    return {key: (one.who, one.made) for key, one in found.items()}


def approved(manifest: Manifest, objects: Objects) -> Approved:
    """Which outputs of a run are approved as they are.

    Raises:
        StoreError: the store fails.
    """
    decided = decided_of(manifest, objects)
    keys = decided.approvals(manifest.depends)
    before: dict[str, str] = {}  # labels that were approved, by when
    for one in keys.values():
        before[one.label] = f"{one.who}, {one.made}"
    named: dict[str, set[str]] = {}
    for step in manifest.steps:
        named.setdefault(step.key, set()).add(step.label)
    for pick in manifest.picks:
        if pick.chosen is not None:
            named.setdefault(pick.chosen, set()).add(pick.label)
    paths, left = set(), []
    for output in manifest.outputs:
        if output.key in keys:
            paths.add(output.path)
            continue
        was = next((one for one in sorted(named.get(output.key, ())) if one in before), None)
        if was is not None:
            left.append(
                f"{output.path}: left out: '{was}' was approved ({before[was]}) as another picture "
                "than this run's; approve it anew"
            )
    return Approved(frozenset(paths), tuple(left))
