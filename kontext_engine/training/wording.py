"""How people ask: several phrasings per instruction, the last of each list held out.

Held out are wordings, subjects and scene instances, not nouns: the words for scenes, colours and
things must be learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from kontext_engine.training.cutouts import OCCLUDERS, THINGS
from kontext_engine.training.looks import Look, Pair
from kontext_engine.training.phrases import (
    ADD,
    BACKGROUND,
    BOX,
    CAPTION,
    CAPTION_LIGHT,
    CHARACTER,
    EXPRESSION,
    EXPRESSIONS,
    LIGHT,
    PLACE,
    PLACES,
    POSED,
    PRONOUNS,
    RECOLOUR,
    REMOVE,
    REPLACE,
    RESTYLE,
    STYLE,
    STYLED,
    TEXT,
    UNCOVER,
    WEATHERS,
)

Wording = Literal["train", "held_out"]


def words_for(name: str) -> str:
    """A cut-out's name as words people use: ``leaf-fluttering-in-wind`` is ``leaf``."""
    return {
        "leaf-fluttering-in-wind": "leaf",
        "hot-beverage": "hot drink",
        "jack-o-lantern": "pumpkin",
    }.get(name, name.replace("-", " "))


def places(scene: str) -> tuple[tuple[str, str], ...]:
    """The phrasings of a scene, each as (a thing, a place)."""
    if scene.startswith("plain "):
        colour = scene.removeprefix("plain ")
        return (
            (f"plain {colour}", f"on a plain {colour} background"),
            (f"a {colour} backdrop", f"on a {colour} backdrop"),
        )
    return PLACES[scene]


def _choose(options: Sequence[str], rng: np.random.Generator, wording: Wording) -> str:
    if wording == "held_out":
        return options[-1]
    return options[int(rng.integers(len(options) - 1))]


def _template(options: Sequence[str], rng: np.random.Generator, wording: Wording) -> str:
    """One of the phrasings; in training sometimes with one of its own words gone or another's.

    Few phrasings are learned whole, word by word: a wording that is new, with a verb that only
    another task has, is then taken for that task.
    """
    text = _choose(options, rng, wording)
    if wording == "held_out" or "{" not in text or rng.random() >= LOOSE:
        return text
    words = text.split(" ")
    own = [k for k, word in enumerate(words) if "{" not in word]
    at = own[int(rng.integers(len(own)))]
    other = [OWN_WORDS[int(rng.integers(len(OWN_WORDS)))]]
    words[at : at + 1] = other if rng.random() < 0.5 else []
    loosened = " ".join(words)
    return text if loosened in _HELD_OUT else loosened


def _noun(noun: str, rng: np.random.Generator) -> str:
    return noun if rng.random() < 0.6 else PRONOUNS[int(rng.integers(len(PRONOUNS)))]


# What is said of a pair whose value and detail are put into words one by one.
_TEMPLATES = {
    "recolour": RECOLOUR, "uncover": UNCOVER, "add": ADD, "remove": REMOVE, "replace": REPLACE,
    "box": BOX, "style": STYLE, "text": TEXT, "expression": EXPRESSION,
}  # fmt: skip
_ALL_TEMPLATES = (*_TEMPLATES.values(), BACKGROUND, RESTYLE, CHARACTER, PLACE)
_HELD_OUT = {options[-1] for options in _ALL_TEMPLATES}
# The templates' own words, for any other's place; those that are held out alone stay unseen.
OWN_WORDS = sorted(
    {
        word
        for options in _ALL_TEMPLATES
        for text in options[:-1]
        for word in text.split(" ")
        if "{" not in word
    }
)
LOOSE = 0.4  # of the instructions in training, see _template


def instruct(pair: Pair, noun: str, rng: np.random.Generator, wording: Wording = "train") -> str:
    """An instruction that asks for ``pair`` of a subject called ``noun``."""
    said = _noun(noun, rng)
    if pair.category == "background":
        forms = places(pair.value)
        thing, place = forms[int(rng.integers(len(forms)))]
        return _template(BACKGROUND, rng, wording).format(noun=said, thing=thing, place=place)
    if pair.category == "weather":
        options = (*LIGHT, *WEATHERS[pair.value])
        light = CAPTION_LIGHT[pair.value]
        return _template(options, rng, wording).format(noun=said, light=light)
    if pair.category in {"character", "place"}:
        return _elsewhere(pair, said, rng, wording)
    if pair.category == "restyle":
        named = _choose(STYLED[pair.value], rng, wording)
        return _template(RESTYLE, rng, wording).format(noun=said, style=named)
    value, old = words_for(pair.value), words_for(pair.detail)
    if pair.category == "expression":
        value = EXPRESSIONS[pair.value]
    return _template(_TEMPLATES[pair.category], rng, wording).format(
        noun=said, thing=value, colour=value, word=value, face=value, side=pair.detail, old=old
    )


def _elsewhere(pair: Pair, said: str, rng: np.random.Generator, wording: Wording) -> str:
    forms = places(pair.value)
    place = forms[int(rng.integers(len(forms)))][1]
    pose = _choose(POSED[pair.detail], rng, wording) if pair.detail else ""
    if pair.category == "character":
        return _template(CHARACTER, rng, wording).format(noun=said, place=place, pose=pose)
    text = _template(PLACE, rng, wording).format(noun=said)
    return f"{text}, {pose}" if pose else text


def caption(look: Look, noun: str, rng: np.random.Generator, wording: Wording = "train") -> str:
    """A caption of a look, for text-to-image; what it does not say is left to the model."""
    forms = places(look.scene)
    place = forms[int(rng.integers(len(forms)))][1]
    named = f"{look.colour} {noun}" if look.colour else noun
    if look.word:
        named = f'sign "{look.word}"'
    text = _choose(CAPTION, rng, wording).format(noun=named, place=place)
    if look.pose:
        text += f", {_choose(POSED[look.pose], rng, wording)}"
    if look.style:
        text += f", as {_choose(STYLED[look.style], rng, wording)}"
    if look.thing:
        text += f" with a {words_for(look.thing)} on the {look.side}"
    if look.weather:
        text += " " + CAPTION_LIGHT[look.weather]
    return text


def vocabulary_texts(nouns: Sequence[str]) -> list[str]:
    """Texts that hold every word of every template and noun, for building the tokenizers."""
    groups = (*_ALL_TEMPLATES, LIGHT, CAPTION)
    texts = [t.replace("{", " ").replace("}", " ") for group in groups for t in group]
    texts += [t for group in (*STYLED.values(), *POSED.values()) for t in group]
    texts += [*EXPRESSIONS.values(), "sign first second"]
    texts += [t for group in WEATHERS.values() for t in group] + list(CAPTION_LIGHT.values())
    texts += [form for forms in PLACES.values() for pair in forms for form in pair]
    texts += [words_for(name) for name in (*OCCLUDERS, *THINGS)] + list(PRONOUNS)
    texts += [
        "left right plain backdrop background white gray black red orange yellow green blue "
        "purple pink gold"
    ]
    return texts + list(nouns)
