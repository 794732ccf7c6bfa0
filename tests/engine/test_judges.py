"""What judges say of pictures whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from kontext_engine.api import EditFailure, EditRequest, EditResult
from kontext_engine.judges import answer_judge, check_text, judge_method, judges


def scene(colour=(40, 60, 160)) -> Image.Image:
    image = Image.new("RGB", (128, 128), (236, 234, 230))
    ImageDraw.Draw(image).ellipse((30, 30, 98, 98), fill=colour)
    return image


def look(name: str, *pictures: Image.Image, text: str = "", kept: Image.Image | None = None):
    return answer_judge(
        EditRequest("id", text, 0, 0, pictures, mask=kept, judge=judge_method(name))
    )


def score(*asked, **more) -> float:
    answer = look(*asked, **more)
    assert isinstance(answer, EditResult), answer
    assert answer.judged.reason
    assert answer.judged.reason in answer.notes[0]
    return answer.judged.score


def test_a_blurred_picture_is_less_sharp():
    soft = scene().filter(ImageFilter.GaussianBlur(3))
    assert score("sharpness", scene()) > 10 * score("sharpness", soft) > 0
    assert score("sharpness", Image.new("RGB", (2, 2))) == 0


def test_what_was_kept_is_compared_outside_the_region_alone():
    before, after = scene(), scene()
    ImageDraw.Draw(after).rectangle((0, 0, 31, 127), fill=(0, 0, 0))
    kept = Image.new("L", before.size, 255)
    kept.paste(0, (0, 0, 32, 128))
    assert score("preserved", after, before, kept=kept) == 1.0
    assert score("preserved", after, before) < 0.8
    moved = look("preserved", after, before, kept=Image.eval(kept, lambda value: 255 - value))
    assert moved.judged.score < 0.2
    assert "outside the region" in moved.judged.reason


def test_the_same_subject_is_more_like_itself_than_another():
    same = score("identity", scene(), scene())
    assert same == pytest.approx(1.0, abs=1e-3)
    assert score("identity", scene((220, 60, 30)), scene()) < same


def test_words_are_read_and_compared():
    pytest.importorskip("rapidocr")
    image = Image.new("RGB", (256, 128), "white")
    font = ImageFont.load_default(size=56)
    ImageDraw.Draw(image).text((20, 30), "SALE", fill="black", font=font)
    said = look("text", image, text="Sale")
    assert (said.judged.score, said.judged.reason) == (1.0, "reads 'SALE'")
    assert score("text", image, text="JETZT") < 0.7
    empty = look("text", Image.new("RGB", (256, 128), "white"), text="SALE")
    assert (empty.judged.score, empty.judged.reason) == (0.0, "reads nothing")


@pytest.mark.parametrize(
    ("text", "lacks"),
    [("SOLDÉS 50%", ""), ("春の服", ""), ("한국어", "한국어"), ("Скидка", "Скид")],
)
def test_letters_that_nobody_reads_are_refused_before(text, lacks):
    told = check_text(text)
    assert bool(told) == bool(lacks)
    assert lacks in told


def test_what_a_judge_cannot_do_is_a_failure_with_its_reason():
    answer = look("preserved", scene())
    assert isinstance(answer, EditFailure)
    assert "nothing to compare with" in answer.reason
    asked = EditRequest("id", "", 0, 0, (scene(),), judge="sharpness 99")
    assert "was planned with sharpness 99, and here is" in answer_judge(asked).reason
    assert "there is no judge 'taste'" in answer_judge(replace(asked, judge="taste 1")).reason
    assert set(judges()) >= {"sharpness", "preserved", "identity", "text"}
    assert np.asarray(look("sharpness", scene()).image).size == 1
