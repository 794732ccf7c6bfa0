"""Scenes and effects: functions of their arguments, and what their names say."""

import json

import numpy as np
import pytest
from PIL import Image

from kontext_engine.training.effects import TINTS, WEATHER, luminance, tint, weather
from kontext_engine.training.scenes import PLAIN, SCENES, render_scene
from tests.training.conftest import DATA

SIZE = (64, 48)


def thumbnail(pixels):
    """Mean colours of 16 rows of 8 in 0..255: a moved draw changes them, a last bit does not."""
    picture = Image.fromarray((pixels * 255).round().astype(np.uint8))
    return np.asarray(picture.resize((8, 16), Image.Resampling.BOX), np.int16)


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_a_function_of_name_seed_and_size(name):
    first = render_scene(name, 3, SIZE)
    assert first.shape == (48, 64, 3)
    assert first.dtype == np.float32
    assert 0.0 <= first.min() < first.max() <= 1.0
    np.random.default_rng(9).random(100)
    assert np.array_equal(render_scene(name, 3, SIZE), first)
    assert not np.array_equal(render_scene(name, 4, SIZE), first)


def test_scenes_are_those_that_models_were_trained_on():
    """A draw moved or added would change every picture behind a seed, and the data with it."""
    golden = json.loads((DATA / "scenes.json").read_text("utf-8"))
    assert list(golden) == list(SCENES)
    for name, pixels in golden.items():
        found = thumbnail(render_scene(name, 3, SIZE))
        expected = np.frombuffer(bytes.fromhex(pixels), np.uint8).reshape(found.shape)
        assert np.abs(found - expected).max() <= 2, name


def test_two_scenes_never_look_alike():
    shown = {name: thumbnail(render_scene(name, 3, SIZE)) for name in SCENES}
    names = list(shown)
    for i, a in enumerate(names):
        for b in names[:i]:
            assert np.abs(shown[a] - shown[b]).mean() > 5, (a, b)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_backdrop_has_its_colour(name):
    mean = render_scene(f"plain {name}", 3, SIZE).mean(axis=(0, 1))
    assert np.abs(mean - np.array(PLAIN[name])).max() < 0.08


@pytest.mark.parametrize("name", WEATHER)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, None])
def test_weather_stays_in_range_and_depends_on_nothing_else(name, level):
    given = render_scene("kitchen", 1, SIZE)
    given = given if level is None else np.full_like(given, level)
    before = given.copy()
    shown = weather(name, given, 7)
    assert shown.dtype == np.float32
    assert shown.shape == given.shape
    assert shown.min() >= 0.0
    assert shown.max() <= 1.0
    assert np.array_equal(given, before)
    assert np.array_equal(weather(name, given, 7), shown)
    if level is None:
        assert np.abs(shown - given).mean() > 0.05


def test_falling_things_fall_elsewhere_for_another_seed():
    given = render_scene("street", 1, SIZE)
    for name in ("snow", "rain"):
        assert not np.array_equal(weather(name, given, 1), weather(name, given, 2))
    for name in ("night", "fog", "golden", "monochrome", "sepia", "neon"):
        assert np.array_equal(weather(name, given, 1), weather(name, given, 2))


def test_black_and_white_has_no_colour_and_keeps_luminance():
    given = render_scene("beach", 1, SIZE)
    shown = weather("monochrome", given, 0)
    assert np.ptp(shown, axis=2).max() == 0.0
    assert np.allclose(shown[..., :1], luminance(given), atol=1e-6)


@pytest.mark.parametrize("name", TINTS)
def test_a_tint_keeps_shading_and_takes_the_colour(name):
    """Half-light is the colour itself; shadows and highlights are shades of it."""
    colour = np.array(TINTS[name])
    grey = np.broadcast_to(np.linspace(0, 1, 101, dtype=np.float32)[None, :, None], (2, 101, 3))
    shown = tint(grey, TINTS[name])
    assert shown.dtype == np.float32
    assert np.allclose(shown[:, 50], colour, atol=1e-5)
    assert np.allclose(shown[:, 0], colour * 0.35, atol=1e-5)
    assert np.allclose(shown[:, 100], colour + (1 - colour) * 0.55, atol=1e-5)
    assert np.all(np.diff(luminance(shown)[0, :, 0]) > 0)


def test_unknown_names_are_key_errors():
    with pytest.raises(KeyError):
        render_scene("swamp", 0, SIZE)
    with pytest.raises(KeyError):
        weather("hail", render_scene("beach", 0, SIZE), 0)
