"""Recipes whose picks are wrong. Each with its message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

from tests.recipe.workspace import Wrong


def pick(said: str, more: str = "") -> str:
    return (
        "inputs: {p: samples/shoe.png}\nsteps:\n  one: {op: edit, image: p, prompt: hi, takes: 3}\n"
        f"  other: {{op: generate, prompt: hi}}\n  best: {{{said}}}\n{more}"
    )


WRONG: dict[str, Wrong] = {
    "pick-from-nothing": (
        pick("op: pick, by: hand"),
        "6:3: step 'best' has no 'from'; expected of a pick: the step whose takes it chooses from, or a list of steps; add 'from: ...'",
    ),
    "pick-by-nobody": (
        pick("op: pick, from: one"),
        "6:3: step 'best' has no 'by'; expected of a pick: who chooses: 'hand' (a person, with 'kontext decide') or {score: NAME} (a judge: sharpness, preserved, identity, text); add 'by: ...'",
    ),
    "pick-by-hnd": (
        pick("op: pick, from: one, by: hnd"),
        "6:35: 'by' is 'hnd'; expected 'hand' or {score: NAME}; did you mean 'hand'?",
    ),
    "pick-unknown-judge": (
        pick("op: pick, from: one, by: {score: sharpnes}"),
        "6:43: unknown judge 'sharpnes': did you mean 'sharpness'?",
    ),
    "pick-unknown-key-of-by": (
        pick("op: pick, from: one, by: {scor: sharpness}"),
        [
            "6:31: 'by' has no 'score'; expected the judge: sharpness, preserved, identity, text, or one's own; add 'score: ...'",
            "6:36: unknown key 'scor' in 'by': did you mean 'score'?",
        ],
    ),
    "pick-unknown-step": (
        pick("op: pick, from: onee, by: hand"),
        "6:26: unknown step 'onee' in from: did you mean 'one'?",
    ),
    "pick-an-input": (
        pick("op: pick, from: [one, p], by: hand"),
        "6:32: 'p' is an input; a pick chooses among pictures that steps make; expected 'one' or 'other'; name one",
    ),
    "pick-itself": (
        pick("op: pick, from: [one, best], by: hand"),
        "6:32: step 'best' picks from itself; expected other steps; name one of them",
    ),
    "pick-twice": (
        pick("op: pick, from: [one, one], by: hand"),
        "6:32: 'one' stands twice; expected it once; remove one",
    ),
    "pick-from-one": (
        pick("op: pick, from: other, by: hand"),
        "6:26: step 'best' picks from one picture of 'other'; expected several; add 'takes: 3' to 'other', or name more steps",
    ),
    "pick-with-a-prompt": (
        pick("op: pick, from: one, by: hand, prompt: hi, seed: 3"),
        [
            "6:41: 'prompt' has no effect on op 'pick'; expected only 'from' and 'by'; remove it",
            "6:53: 'seed' has no effect on op 'pick'; expected only 'from' and 'by'; remove it",
        ],
    ),
    "from-of-an-edit": (
        pick("op: edit, image: p, prompt: hi, from: one"),
        "6:42: 'from' has no effect on op 'edit'; expected it on op 'pick'; remove it",
    ),
    "pick-of-without-comparing": (
        pick("op: pick, from: one, by: {score: sharpness, of: p}"),
        "6:54: judge 'sharpness' compares with nothing; expected no 'of'; remove it",
    ),
    "pick-text-without-reading": (
        pick("op: pick, from: one, by: {score: sharpness, text: hi}"),
        "6:54: judge 'sharpness' reads nothing; expected no 'text'; remove it",
    ),
    "pick-compares-with-nothing": (
        pick("op: pick, from: [one, other], by: {score: identity}"),
        "6:44: judge 'identity' compares, and 'other' is made from nothing; expected what to compare with; add 'of: ...'",
    ),
    "pick-of-unknown": (
        pick("op: pick, from: one, by: {score: identity, of: q}"),
        "6:57: unknown step or input 'q' in of; expected 'p', 'one' or 'other'; write one of these",
    ),
    "pick-circle": (
        pick(
            "op: pick, from: [one, more], by: hand", "  more: {op: edit, image: best, prompt: hi}\n"
        ),
        "6:26: the steps best <- more <- best need each other; expected each to use only pictures that can be made before it; change one 'image'",
    ),
}
