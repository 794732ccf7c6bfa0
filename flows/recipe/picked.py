"""A pick checked: what it chooses among, and who chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flows.problems import did_you_mean, one_of, unknown_name
from flows.recipe.fields import key_of
from flows.recipe.node import Loc
from flows.recipe.region import KINDS
from flows.recipe.review import Review
from flows.recipe.stepspec import StepSpec
from kontext_engine.errors import ModelError

if TYPE_CHECKING:
    from flows.recipe.graph import StepNode

_OWN = ("among", "by")


def pick_sources(review: Review, name: str, spec: StepSpec) -> tuple[str, ...]:
    """The steps that a pick chooses among, and what its judge compares with."""
    if spec.op != "pick":
        return ()
    document = review.recipe.document
    loc: Loc = ("steps", name)
    found: list[str] = []
    others = [step for step in review.recipe.named_steps if step != name]
    for index, source in enumerate(spec.among or ()):
        where = _at(review, (*loc, "from"), index)
        if source == name:
            text = f"step '{name}' picks from itself; expected other steps; name one of them"
            review.wrong(where, text)
        elif source in document.inputs:
            text = (
                f"'{source}' is an input; a pick chooses among pictures that steps make; expected "
                f"{one_of(others) if others else 'a step'}; name one"
            )
            review.wrong(where, text)
        elif source not in document.steps:
            review.wrong(where, unknown_name("step", source, "from", others, "steps"))
        elif source in found:
            review.wrong(where, f"'{source}' stands twice; expected it once; remove one")
        else:
            found.append(source)
    of = spec.by.of if spec.by is not None else None
    if of is not None:
        known = [*document.inputs, *others]
        if of in known:
            found.append(of)
        else:
            text = unknown_name("step or input", of, "of", known, "inputs")
            review.wrong((*loc, "by", "of"), text)
    return tuple(dict.fromkeys(found))


def check_pick(review: Review, name: str, nodes: Mapping[str, StepNode]) -> None:
    """Whether there is something to choose, and somebody who can."""
    spec = review.recipe.document.steps[name]
    loc: Loc = ("steps", name)
    among = [nodes[one] for one in spec.among or () if one in nodes]
    if len(among) == 1 and among[0].takes < 2 and len(spec.among or ()) == 1:
        text = (
            f"step '{name}' picks from one picture of '{among[0].id}'; expected several; add "
            f"'takes: 3' to '{among[0].id}', or name more steps"
        )
        review.wrong((*loc, "from"), text)
    if spec.by is None or spec.by.is_hand:
        return
    from kontext_engine.judges import judge_method, judges  # few recipes have judges

    score = spec.by.score
    if score not in judges():
        known = list(judges())
        hint = did_you_mean(score, known) or f"expected {one_of(known)}; write one of these"
        review.wrong((*loc, "by", "score"), f"unknown judge '{score}': {hint}")
        return
    kind = judges()[score]
    if spec.by.of is not None and not kind.compares:
        text = f"judge '{score}' compares with nothing; expected no 'of'; remove it"
        review.wrong((*loc, "by", "of"), text, key=True)
    if spec.by.text is not None and not kind.reads:
        text = f"judge '{score}' reads nothing; expected no 'text'; remove it"
        review.wrong((*loc, "by", "text"), text, key=True)
    if kind.reads and spec.by.text is None:
        text = f"judge '{score}' is not told what to read; expected the words; add 'text: ...'"
        review.wrong((*loc, "by"), text)
    bare = [node.id for node in among if not node.images and not node.among]
    if kind.compares and spec.by.of is None and bare:
        text = (
            f"judge '{score}' compares, and '{bare[0]}' is made from nothing; expected what to "
            "compare with; add 'of: ...'"
        )
        review.wrong((*loc, "by"), text)
    try:
        judge_method(score)
    except ModelError as error:
        review.wrong((*loc, "by", "score"), str(error))


def stray(review: Review, name: str) -> None:
    """A pick has no words and no steps, and no other step has what a pick has."""
    spec = review.recipe.document.steps[name]
    said = spec.model_fields_set
    if spec.op == "pick":
        kept: set[str] = said - {"op", *_OWN}
        text = "has no effect on op 'pick'; expected only 'from' and 'by'; remove it"
    else:
        kept = said & set(_OWN)
        text = f"has no effect on op '{spec.op}'; expected it on op 'pick'; remove it"
    for field in sorted(kept):
        if spec.op == "pick" and field in KINDS:
            continue  # which is told for all but edits
        key = key_of(StepSpec, field)
        review.wrong(("steps", name, key), f"'{key}' {text}", key=True)


def _at(review: Review, loc: Loc, index: int) -> Loc:
    """An entry of a list, or the text that stands for one."""
    node = review.recipe.source.node(loc)
    return (*loc, index) if node is not None and node.items is not None else loc
