"""What is asked: held-out wordings stay unseen, nothing is left unfilled, everything fits."""

import re
from itertools import pairwise, product

import numpy as np
import pytest
from transformers import CLIPTokenizer, T5TokenizerFast

from kontext_engine.training import wording
from kontext_engine.training.cutouts import OCCLUDERS, THINGS
from kontext_engine.training.effects import TINTS, WEATHER
from kontext_engine.training.looks import Look, Pair
from kontext_engine.training.miniature import TEXT_TOKENS
from kontext_engine.training.scenes import SCENES
from kontext_engine.training.wording import caption, instruct, places, words_for
from tests.training.conftest import NOUNS

TEMPLATES = {
    "background": wording.BACKGROUND,
    "recolour": wording.RECOLOUR,
    "uncover": wording.UNCOVER,
    "add": wording.ADD,
    "remove": wording.REMOVE,
    "replace": wording.REPLACE,
    "box": wording.BOX,
    "caption": wording.CAPTION,
    **{f"weather {name}": forms for name, forms in wording.WEATHERS.items()},
}
PAIRS = [
    *(Pair(0, 1, "background", scene) for scene in SCENES),
    *(Pair(0, 1, "recolour", colour) for colour in TINTS),
    *(Pair(0, 1, "weather", name) for name in WEATHER),
    *(Pair(0, 1, "uncover", name) for name in OCCLUDERS),
    *(Pair(0, 1, "add", name, side) for name, side in product(THINGS, ("left", "right"))),
    *(Pair(0, 1, "remove", name) for name in THINGS),
    *(Pair(0, 1, "replace", a, b) for a, b in pairwise(THINGS)),
    *(Pair(0, 1, "box", name) for name in THINGS),
]
LOOKS = [
    *(Look(scene) for scene in SCENES),
    *(Look("beach", colour=colour) for colour in TINTS),
    *(Look("plain red", weather=name) for name in WEATHER),
    *(Look("snow", thing=name, side=side) for name, side in product(THINGS, ("left", "right"))),
]


def texts(kind, rng, noun="running shoe", times=12):
    """(template's group, text) of every pair and look, several times over."""
    for _ in range(times):
        for pair in PAIRS:
            group = f"weather {pair.value}" if pair.category == "weather" else pair.category
            yield group, instruct(pair, noun, rng, kind)
        for look in LOOKS:
            yield "caption", caption(look, noun, rng, kind)


def pattern(template, *, whole):
    """What a template's texts look like; a caption goes on after its template."""
    parts = re.split(r"\{\w+\}", template)
    return re.compile(".+".join(map(re.escape, parts)) + (r"\Z" if whole else ""))


GOLDEN_INSTRUCTIONS = [
    "replace the background with a sandy beach",
    "replace the background with a blue backdrop",
    "change the picture to one in neon light",
    "remove the butterfly from the cup",
    "add a pumpkin to the right",
    "add a rabbit the right",
    "delete the rabbit",
    "change the red box it a cactus",
]
GOLDEN_CAPTIONS = [
    "a picture of a cup on a sandy beach",
    "a photo of the cup on a plain red background",
    "a photo of the gold cup at the beach",
    "a picture of a cup in a snowy landscape with a evergreen tree on the right",
    "a picture of a cup in a snowy landscape with a birthday cake on the right",
    "a photo of the cup in the snow with a rabbit on the right",
]


@pytest.mark.parametrize("held_out", [False, True])
def test_held_out_wordings_are_never_trained_on_and_always_benched_with(held_out):
    last = {name: pattern(group[-1], whole=name != "caption") for name, group in TEMPLATES.items()}
    seen = set()
    for group, text in texts("held_out" if held_out else "train", np.random.default_rng(0)):
        matching = {name for name, form in last.items() if form.match(text)}
        assert (group in matching) if held_out else not matching, text
        seen.add(group)
    assert seen == set(TEMPLATES)


def test_every_other_wording_is_trained_on():
    seen = {text for _, text in texts("train", np.random.default_rng(0), times=25)}
    for name, group in TEMPLATES.items():
        for template in group[:-1]:
            form = pattern(template, whole=name != "caption")
            assert any(form.match(text) for text in seen), template


def test_some_trained_wordings_are_loosened_by_one_of_their_own_words():
    """So that a verb alone, which another task has, is no task; what is asked for stays."""
    rng = np.random.default_rng(3)
    for options in (wording.BOX, wording.UNCOVER, wording.RECOLOUR, wording.TEXT):
        drawn = [wording._template(options, rng, "train") for _ in range(3000)]
        loose = [text for text in drawn if text not in options]
        # One without a hole may not lose a word: all of it is what is asked for.
        share = np.mean(["{" in text for text in options[:-1]])
        assert len(loose) / 3000 == pytest.approx(wording.LOOSE * share, abs=0.05)
        for text in set(loose):
            holes = re.findall(r"\{\w+\}", text)
            near = [one for one in options[:-1] if apart(text, one) == 1]
            assert holes in [re.findall(r"\{\w+\}", one) for one in near], text
        assert options[-1] not in drawn
        assert {wording._template(options, rng, "held_out") for _ in range(50)} == {options[-1]}


def test_any_light_is_asked_for_in_many_ways_and_never_as_it_is_held_out():
    held_out = {forms[-1] for forms in wording.WEATHERS.values()}
    words = [*wording.OWN_WORDS, ""]
    for template, (name, light) in product(wording.LIGHT, wording.CAPTION_LIGHT.items()):
        parts = template.split(" ")
        for k, other in product(range(len(parts)), words):
            if "{" not in parts[k]:
                near = [*parts[:k], other, *parts[k + 1 :]] if other else parts[:k] + parts[k + 1 :]
                said = " ".join(near).format(noun="scene", light=light)
                assert said not in held_out, name
    rng = np.random.default_rng(4)
    drawn = {instruct(Pair(0, 1, "weather", "snow"), "cup", rng) for _ in range(500)}
    assert {"make it snow", "show the cup in falling snow"} < drawn
    assert len(drawn) > 50


def apart(text, other):
    """How many words have to be changed or left out of ``other``; many, where that is no way."""
    words, others = text.split(" "), other.split(" ")
    if len(words) == len(others):
        return sum(a != b for a, b in zip(words, others, strict=True))
    left = [others[:k] + others[k + 1 :] for k in range(len(others))]
    return 1 if words in left else 99


def test_a_word_that_only_held_out_wordings_have_is_in_no_trained_one():
    def words(templates):
        return {word for text in templates for word in text.split(" ") if "{" not in word}

    groups = wording._ALL_TEMPLATES
    known = words(text for options in groups for text in options[:-1])
    alone = words(options[-1] for options in groups) - known
    assert alone
    assert alone.isdisjoint(wording.OWN_WORDS)
    assert known == set(wording.OWN_WORDS)


@pytest.mark.parametrize("kind", ["train", "held_out"])
def test_no_text_has_a_hole(kind):
    for _, text in texts(kind, np.random.default_rng(1)):
        assert re.fullmatch(r"[A-Za-z]+(?:[ -][A-Za-z]+)*", text), text
        assert "None" not in text


def test_what_is_asked_is_in_the_words():
    rng = np.random.default_rng(2)
    for pair in PAIRS:
        said = {
            instruct(pair, "cup", rng, kind) for kind in ("train", "held_out") for _ in range(9)
        }
        named = words_for(pair.value)
        if pair.category in ("recolour", "add", "remove", "replace", "box"):
            assert all(named in text for text in said), pair
        if pair.category == "add":
            assert all(pair.detail in text for text in said), pair
        if pair.category == "replace":
            assert all(words_for(pair.detail) in text for text in said), pair
        if pair.category == "background":
            forms = [form for place in places(pair.value) for form in place]
            assert all(any(form in text for form in forms) for text in said), pair
    for look in LOOKS:
        text = caption(look, "cup", rng)
        assert "cup" in text
        assert look.colour is None or f"{look.colour} cup" in text
        assert look.thing is None or f"{words_for(look.thing)} on the {look.side}" in text
        assert look.weather is None or text.endswith(wording.CAPTION_LIGHT[look.weather])


def test_instructions_of_different_scenes_colours_and_weathers_never_read_the_same():
    owners = {}
    for scene in SCENES:
        for form in places(scene):
            for words in form:
                assert owners.setdefault(words, scene) == scene
    weathers = [text for forms in wording.WEATHERS.values() for text in forms]
    assert len(set(weathers)) == len(weathers)


def test_the_draw_of_words_is_the_one_that_models_were_trained_on():
    rng = np.random.default_rng(42)
    assert [instruct(pair, "cup", rng) for pair in PAIRS[::20]] == GOLDEN_INSTRUCTIONS
    assert [caption(look, "cup", rng) for look in LOOKS[::16]] == GOLDEN_CAPTIONS


@pytest.fixture(scope="module")
def readers(tokenizers):
    return (
        CLIPTokenizer.from_pretrained(tokenizers / "tokenizer"),
        T5TokenizerFast.from_pretrained(tokenizers / "tokenizer_2"),
    )


def test_every_training_prompt_fits_the_text_models(readers):
    """The longest names in the longest sentences, with both tokenizers' own markers."""
    nouns = sorted(NOUNS, key=word_count)[-3:]
    prop = "evergreen tree"
    fillings = {"colour": "orange", "side": "right", "old": prop}
    said = []
    scenes = [form for scene in SCENES for form in places(scene)]
    things = sorted((thing for thing, _ in scenes), key=word_count)[-3:]
    spots = sorted((place for _, place in scenes), key=word_count)[-3:]
    for noun, (name, group), thing, place in product(nouns, TEMPLATES.items(), things, spots):
        what = thing if name == "background" else prop
        named = f"orange {noun}" if name == "caption" else noun
        said += [t.format(noun=named, thing=what, place=place, **fillings) for t in group]
    said += [
        f"{text} with a {prop} on the right {light}"
        for text in said
        if text.startswith(("a picture", "an image"))
        for light in ("in black and white", "in golden light")
    ]
    said = list(dict.fromkeys(said))
    assert len(said) > 150
    for reader in readers:
        lengths = [len(ids) for ids in reader(said).input_ids]
        assert max(lengths) <= TEXT_TOKENS, said[int(np.argmax(lengths))]
    assert (
        max(map(len, readers[0](said).input_ids)) > TEXT_TOKENS - 4
    )  # the cases are the hard ones


def word_count(text):
    return len(text.split()), len(text)


def test_every_word_of_training_is_known_to_the_tokenizers(readers):
    _, t5 = readers
    said = {text for _, text in texts("train", np.random.default_rng(3))} | set(NOUNS)
    words = sorted({word for text in said for word in text.split()})
    for word, ids in zip(words, t5(words, add_special_tokens=False).input_ids, strict=True):
        assert len(ids) == 1, word
        assert ids[0] != t5.unk_token_id, word
