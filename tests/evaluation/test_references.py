"""References and text: the bench tells true answers from everything that was handed in."""

import json

import numpy as np
import pytest

from flows.cli import main
from kontext_engine.evaluation.answers import Asker
from kontext_engine.evaluation.reader import read_sign
from kontext_engine.evaluation.references import (
    CANDIDATES,
    COUNT,
    FIRST_SEED,
    KINDS,
    SHOWN,
    reference,
    run_references,
)
from kontext_engine.training.cutouts import split_of
from kontext_engine.training.signs import HELD_OUT, WORDS, Sign
from kontext_engine.training.styles import STYLES
from tests.engine.tiny import FULL, save_tiny_model
from tests.evaluation.oracles import OracleEngine, noisy
from tests.evaluation.test_command import net  # noqa: F401

SIZE = (128, 128)  # signs are too small to read on smaller pictures
LIMIT = 4


@pytest.fixture(scope="module")
def items(cast):
    return {k: [reference(cast, k, n, SIZE) for n in range(LIMIT)] for k in KINDS}


@pytest.fixture(scope="module")
def measure(cast, untrained, items):
    """A function that measures an engine that answers with ``answer(item, request)``."""
    known = {item.id: item for row in items.values() for item in row}

    def run(answer, kinds=KINDS):
        engine = OracleEngine(lambda request: answer(known[request.id], request))
        asker = Asker(engine, 2, 0, SIZE)
        engine.run = sized(engine.run)
        found = run_references(
            cast, asker, lambda pictures: pictures, untrained, 0.4, kinds, LIMIT, 3
        )
        return {f.kind: f for f in found}, engine

    return run


def sized(run):
    return lambda requests, on_step=None: run(requests, on_step)


def test_true_targets_are_right_and_copies_are_not(measure):
    found, engine = measure(lambda item, request: noisy(item.truth, request))
    assert [*found] == [*KINDS]
    for kind, figures in found.items():
        assert figures.right.value >= 0.75, kind  # one in four may be misread through the noise
        assert figures.truths.value == 1.0, kind
        assert figures.copies.value == 0.0, kind
        assert figures.copies.count == LIMIT * SHOWN.get(kind, 1)
    for request in (r for batch in engine.asked for r in batch):
        assert len(request.contexts) == SHOWN.get(request.id.rpartition("-")[0], 1)


def test_an_engine_that_hands_back_what_it_got_is_never_right(measure):
    for place in (0, -1):
        found, _ = measure(lambda _, request, k=place: np.asarray(request.contexts[k]))
        assert {figures.right.value for figures in found.values()} == {0.0}


def test_the_answer_to_another_question_is_not_right(measure, items):
    def of_another(item, _):
        row = items[item.kind]
        return row[(row.index(item) + 1) % len(row)].truth

    found, _ = measure(of_another)
    assert all(figures.right.right <= 1 for figures in found.values())


def test_items_are_held_out_and_have_nine_candidates(cast, items):
    assert FIRST_SEED + 10_000 * len(KINDS) < 50_000_000
    assert {split_of(c) for c in cast.subjects} == {"held_out"}
    for kind, row in items.items():
        for item in row:
            assert item.given.shape == (SHOWN.get(kind, 1), SIZE[1], SIZE[0], 3)
            if kind != "text":
                assert 1 + len(item.others) + len(item.given) == CANDIDATES
    assert all(item.prompt.endswith("the style of the second picture") for item in items["style"])
    assert not {*HELD_OUT} & {*WORDS}
    assert all(item.word in HELD_OUT and f'"{item.word}"' in item.prompt for item in items["text"])
    assert len({item.word for item in items["text"]}) == LIMIT
    assert 2 * len(STYLES) <= COUNT


def test_signs_are_read_without_knowing_the_word():
    """Every letter, and words of training, on boards of many colours, drawn and softened."""
    grey = np.full((SIZE[1], SIZE[0], 3), 0.4, np.float32)
    right = []
    for k, word in enumerate((*HELD_OUT, *WORDS[::5])):
        sign = Sign.of(FIRST_SEED + k, SIZE)
        picture = (sign.draw(grey, word) * 255).astype(np.uint8)
        right.append(read_sign(picture, sign) == word)
    assert np.mean(right) >= 0.95
    sign = Sign.of(1, SIZE)
    assert read_sign((grey * 0 + np.array(sign.board)).astype(np.uint8), sign) == ""


@pytest.mark.parametrize(
    ("suite", "limit", "shown"),
    [("references", 1, "References and text"), ("drift", 1, "Drift over 6 turns, 1 chains")],
)
def test_the_whole_way_on_a_tiny_model(net, tmp_path, capsys, suite, limit, shown):  # noqa: F811
    model, out = save_tiny_model(tmp_path / "model", FULL).source, tmp_path / "figures.json"
    with pytest.raises(SystemExit) as ended:
        main([
            "eval", suite, "--model", model, "--limit", str(limit), "--steps", "1",
            "--size", "64", "--json", str(out),
        ])  # fmt: skip
    assert ended.value.code == 0
    said, told = json.loads(out.read_text()), capsys.readouterr().out
    assert said["bench"] == suite
    assert shown in told
    if suite == "drift":
        assert len(said["identity"]["model"]["median"]) == 7
        assert said["above_strangers_at_end"]["count"] == 1
    else:
        assert {f["right"]["count"] for f in said["kinds"].values()} == {1}


def test_pages_are_the_studios_alone(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["eval", "drift", "--html", "pages"])
    assert ended.value.code == 2
    assert "only studio has pages" in " ".join(capsys.readouterr().err.split())


def test_a_faint_speck_is_no_letter_and_no_endless_loop():
    """Of a span of two columns nothing can be cut off."""
    sign = Sign.of(FIRST_SEED, (128, 128))
    picture = np.full((128, 128, 3), sign.board, np.uint8)
    left, top, right, bottom = sign.box
    half = (np.array(sign.board, float) + np.array(sign.ink, float)) / 2
    x, y = (left + right) // 2, (top + bottom) // 2
    picture[y, x] = half
    picture[y, x + 1] = half + 0.1 * (np.array(sign.ink, float) - half)
    assert len(read_sign(picture, sign)) == 1
