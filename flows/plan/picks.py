"""Picks planned: which of several pictures stands for a pick, what waits for one, what is judged.

A pick makes no picture. Decided, it is the key of what was chosen, and what reads it has that key
among its own parents; undecided, whatever reads it is open: it has no key yet. A hand's pick pins a
key: it holds though the recipe has changed above it, and then that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flows.decisions.decided import Decided
from flows.decisions.decision import Slot
from flows.plan.keys import judge_key
from flows.plan.select import parse_label, take_label
from flows.plan.step import (
    Candidate,
    ContextRef,
    Made,
    ParentStep,
    Pick,
    SourceImage,
    Step,
    StepParams,
    Waiting,
)
from flows.recipe.graph import StepNode
from flows.recipe.matrix import Variant
from flows.recipe.node import Loc, Node
from flows.recipe.overrides import Overrides
from flows.recipe.placeholders import filler
from flows.recipe.recipe import setting_loc
from flows.recipe.review import Review
from flows.recipe.used import variables_of_axes
from flows.store.record import Record
from kontext_engine.errors import ModelError
from kontext_engine.geometry import Size

Steps = MutableMapping[str, partial[Step]]


@cache
def _params() -> TypeAdapter[StepParams]:
    return TypeAdapter(StepParams)


@dataclass
class Picks:
    """Resolves picks in a planning run. ``steps`` are the plan's, to which it adds what is judged.

    ``picks`` by label; ``waiting`` are steps without a key, by theirs; ``warnings`` for people.
    ``named`` has the keys of a variant's steps while that is planned.
    """

    review: Review
    decided: Decided
    steps: Steps
    source: Callable[[str, Variant], SourceImage]
    known: Callable[[str, Size], None]  # is told the size of a picture that is not planned
    picks: dict[str, Pick] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def _of_axes(self) -> Mapping[str, frozenset[str]]:
        return variables_of_axes(self.review.recipe)

    @cached_property
    def _rejected(self) -> frozenset[str]:
        """The keys that hands have rejected, whatever they were called."""
        states = (self.decided.state(slot) for slot in self.decided.ledger.slots().values())
        return frozenset(key for state in states for key in state.rejected)

    @cached_property
    def labels(self) -> frozenset[str]:
        """The labels that hands have decided about."""
        return frozenset(slot.label for slot in self.decided.ledger.slots().values())

    @cached_property
    def busy(self) -> bool:
        """Whether anything at all has been decided by hand."""
        return bool(self.decided.ledger.lines["hands"])

    def slot(self, node: StepNode, label: str) -> Slot:
        """The slot of a step's label: without its take."""
        return self.decided.slot(label, self.parameters(node))

    def parameters(self, node: StepNode) -> dict[str, str]:
        """What a step depends on and what is not as usual, by name."""
        recipe = self.review.recipe
        return {
            name: text
            for name, text in recipe.given.items()
            if self._depends(node, name, in_axes=name in recipe.variables)
        }

    def depends(self, nodes: Mapping[str, StepNode]) -> dict[str, tuple[tuple[str, str], ...]]:
        """``parameters`` of all steps that have some, by their ids, in order."""
        found = {name: tuple(sorted(self.parameters(node).items())) for name, node in nodes.items()}
        return {name: pairs for name, pairs in found.items() if pairs}

    def _depends(self, node: StepNode, name: str, *, in_axes: bool) -> bool:
        if in_axes:
            of = self._of_axes.get(name, frozenset())
            return name in node.variables or "" in of or bool(of & set(node.axes))
        first, _, rest = name.partition(".")
        return rest.partition(".")[0] in node.ancestors if first == "steps" else True

    def seeds(self, node: StepNode, label: str, overrides: Overrides) -> Mapping[int, int]:
        """Seeds of a step by take, as decided, or else as the file beside the recipe says."""
        found: dict[int, int] = {}
        if not overrides.seeds and label not in self.labels:
            return found
        _, values = parse_label(label)
        for take in range(1, node.takes + 1):
            seed = overrides.seeds.get(take_label(node.id, values, take))
            if seed is not None:
                found[take] = seed
        if label in self.labels:
            for take, said in self.decided.state(self.slot(node, label)).seeds.items():
                if found.get(take, said.value) != said.value:
                    self.warnings.append(
                        f"{overrides.path}: the seed of '{take_label(node.id, values, take)}' is "
                        f"{found[take]}, and {said.value} was decided, which holds; remove the line"
                    )
                found[take] = int(said.value or 0)
        return found

    def wait(self, label: str, parents: Sequence[tuple[str, ...] | str]) -> None:
        """A step that has no key: ``parents`` are keys that it has, and labels that have none."""
        needs: dict[str, None] = {}
        behind: dict[str, None] = {}
        for parent in parents:
            if isinstance(parent, tuple):
                needs.update(dict.fromkeys(parent))
            else:
                needs.update(dict.fromkeys(self.waiting[parent].needs))
                behind.update(dict.fromkeys(self.waiting[parent].picks))
        self.waiting[label] = Waiting(tuple(behind), tuple(needs))

    def pick(
        self, node: StepNode, label: str, variant: Variant, among: Sequence[Candidate]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The key of what was picked, if it was, and those of the steps that judge."""
        slot = self.slot(node, label)
        state = self.decided.state(slot)
        by = node.spec.by
        judge = ""
        judged: tuple[str, ...] = ()
        chosen: str | None = None
        if state.pick is not None and state.pick.key is not None:
            chosen = self._pinned(node, label, state.pick.key, state.pick.label, among)
        elif by is not None and not by.is_hand:
            left = [one for one in among if one.key not in self._rejected]
            judge, judged = self._judge(node, label, variant, left)
            said = self.decided.judged(slot, judge, judged) if judged else None
            keys = {one.key for one in left}
            chosen = said.key if said is not None and said.key in keys else None
        by_hand = state.pick is not None and chosen is not None
        self.picks[label] = Pick(
            label, slot, tuple(among), judge, judged, chosen, "hand" if by_hand else judge,
        )  # fmt: skip
        if chosen is None:
            needs = dict.fromkeys((*(one.key for one in among), *judged))
            self.waiting[label] = Waiting((label,), tuple(needs))
            return (), judged
        return (chosen,), judged

    # --- what a hand has chosen

    def _pinned(
        self, node: StepNode, label: str, key: str, take: str, among: Sequence[Candidate]
    ) -> str | None:
        """The key, if there is or will be a picture of it."""
        if any(one.key == key for one in among):
            return key
        record = self.decided.record(key)
        if record is None:
            self.warnings.append(
                f"stale pick: {label}: its picture ({take}, {key[:12]}) is gone from the store; "
                "pick again"
            )
            return None
        self.warnings.append(f"stale pick: {label}: {self._changed(record, take, among)}")
        if key not in self.steps:
            try:
                params = _params().validate_python(dict(record.params))
            except ValidationError:
                params = StepParams("", 0, 0)
            operation: Any = record.operation
            made = Made(record.model, record.model_digest)
            self.steps[key] = partial(Step, key, node.id, take, operation, params, (), made=made)
        self.known(key, Size(record.width, record.height))
        return key

    def _changed(self, record: Record, take: str, among: Sequence[Candidate]) -> str:
        now = next((one for one in among if one.label == take), None)
        if now is None:
            return f"'{take}' is none of its pictures any more"
        return self._difference(record, now.key, "its") or "it changed"

    def _difference(self, record: Record, key: str, whose: str) -> str:
        """What is not as it was when a picture was made, in words."""
        planned = self.steps[key]
        name, params, contexts = planned.args[1], planned.args[4], planned.args[5]
        new = _params().dump_python(params, mode="json")
        for what, value in record.params.items():
            if new.get(what) != value:
                return f"{whose} {what.replace('_', ' ')} changed{self._line(name, what)}"
        parents = [ref.key for ref in contexts if isinstance(ref, ParentStep)]
        for old, one in zip(record.parents, parents, strict=False):
            before = self.decided.record(old) if old != one else None
            if before is not None and one in self.steps:
                parent = self.steps[one].args[1]
                return self._difference(before, one, f"'{parent}':")
        sources = [ref.digest for ref in contexts if isinstance(ref, SourceImage)]
        if list(record.sources) != sources:
            return f"{whose} input changed{self._line(name, 'image')}"
        return f"{whose} parents or model changed{self._line(name, 'op')}"

    def _line(self, step: str, what: str) -> str:
        recipe = self.review.recipe
        loc: Loc = ("steps", step, what)
        if what in type(recipe.document.defaults).model_fields:
            loc = setting_loc(recipe, step, what)
        node: Node | None = recipe.source.node(loc) or recipe.source.node(("steps", step))
        return f" (line {node.mark.line})" if node is not None and node.mark else ""

    # --- what a judge looks at

    def _judge(
        self, node: StepNode, label: str, variant: Variant, among: Sequence[Candidate]
    ) -> tuple[str, tuple[str, ...]]:
        """The judge, with all that decides what it says; the keys of its looks at candidates."""
        from kontext_engine.judges import check_text, judge_method, judges

        by = node.spec.by
        if by is None or by.score not in judges():
            return "", ()
        kind, text = judges()[by.score], ""
        if node.text is not None:
            recipe = self.review.recipe
            text = filler(recipe, node.text)(variant.values).strip()
            if by.score == "text" and (wrong := check_text(text)):
                self.review.wrong(("steps", node.id, "by", "text"), f"{wrong} ({label})")
        try:
            method = judge_method(by.score)
        except ModelError:  # which was told
            return "", ()
        keys = []
        for one in among:
            made = self.steps[one.key]
            contexts: tuple[ContextRef, ...] = (ParentStep(one.key),)
            region = None
            if kind.compares:
                if node.of is not None:
                    contexts += tuple(self._of(node.of, variant))
                else:
                    contexts += made.args[5][:1]
                    region = made.keywords.get("region")
                    if region is not None and region.masked:
                        contexts += made.args[5][-1:]
            key = judge_key(contexts, method, text, region)
            keys.append(key)
            if key not in self.steps:
                about = f"{label} of {one.label}"
                params = StepParams(text, seed=0, steps=0)
                self.steps[key] = partial(
                    Step, key, node.id, about, "judge", params, contexts,
                    method=method, region=region,
                )  # fmt: skip
        told = f"{method}: {text}" if text else method
        return told, tuple(keys)

    def _of(self, name: str, variant: Variant) -> Iterator[ContextRef]:
        keys = self.named.get(name)
        if keys is None:
            yield self.source(name, variant)
        elif keys:
            yield ParentStep(keys[0])
