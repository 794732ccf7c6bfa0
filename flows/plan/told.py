"""What a plan notes of a recipe that is right: what changes nothing, what nobody reads on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from flows.plan.step import Step
from flows.recipe.axes import Axis
from flows.recipe.graph import StepNode
from flows.recipe.review import Review
from kontext_engine.spec import ModelSpec
from kontext_engine.textlength import token_counts


def note_unused(review: Review, axes: Mapping[str, Axis], nodes: Mapping[str, StepNode]) -> None:
    """Note axes that no step depends on."""
    used = {axis for node in nodes.values() for axis in node.axes}
    for name in axes:
        if name not in used:
            section = "inputs" if name in review.recipe.document.inputs else "matrix"
            text = f"no step uses '{name}'; its values change no picture"
            review.note((section, name), text, key=True)


def note_prompts(review: Review, model: ModelSpec, steps: Iterable[partial[Step]]) -> None:
    """Note prompts that became empty, or that the model will not read to their end: a line for
    each step.
    """
    limit = model.text_tokens
    prompts: dict[str, str] = {}  # by their texts, the step that says it first
    empty: dict[str, list[str]] = {}
    for step in steps:
        _, name, label, operation, params, _ = step.args
        if operation == "judge" or "made" in step.keywords:
            continue
        if not params.prompt and operation in ("edit", "generate"):
            empty.setdefault(name, []).append(label)
        # A token is one byte at least, and one ends the text.
        if len(params.prompt.encode()) >= limit:
            prompts.setdefault(params.prompt, f"{name} {label}")
    for name, labels in empty.items():
        more = f", and {len(labels) - 1} more" if len(labels) > 1 else ""
        text = f"the prompt is empty ({labels[0]}{more}); write what to make or to change"
        review.note(("steps", name, "prompt"), text)
    if not prompts:
        return
    counts = token_counts(model.source, list(prompts)) or []
    long: dict[str, list[tuple[int, str]]] = {}
    for count, said in zip(counts, prompts.values(), strict=False):
        if count > limit:
            name, _, label = said.partition(" ")
            long.setdefault(name, []).append((count, label))
    for name, found in long.items():
        count, label = max(found)
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        text = (
            f"the prompt has {count} tokens ({label}{more}), of which model "
            f"'{model.name}' reads {limit}; shorten it"
        )
        review.note(("steps", name, "prompt"), text)
