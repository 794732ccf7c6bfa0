"""The table of every mode, depth, profile and container: read right, and keys kept where they were.

Expected colours are plain arithmetic (``table``); ImageMagick says the same of what it reads.
"""

from collections import Counter

import numpy as np
import pytest
from PIL import ImageCms

from kontext_engine.picture import picture_facts
from kontext_engine.picture.reading import open_picture
from tests.debian import needs_debian
from tests.reading import before, peer
from tests.reading.table import SIDE, cases, plugins


@pytest.fixture(autouse=True)
def transforms(monkeypatch):
    """LittleCMS prepares each conversion once: it takes longer than all else of the table."""
    known = {}

    def transform(source, target, *modes, flags):
        key = (source.tobytes(), target.tobytes(), modes, flags)
        if key not in known:
            known[key] = make(source, target, *modes, flags=flags)
        return known[key]

    make = ImageCms.ImageCmsTransform
    monkeypatch.setattr(ImageCms, "ImageCmsTransform", transform)


def containers():
    return sorted({case.container for case in cases()})


def test_the_tables_extent(record_property):
    count = Counter(case.container for case in cases())
    print("combinations:", sum(count.values()), dict(count))  # noqa: T201
    record_property("combinations", sum(count.values()))
    least = {"PNG": 120, "TIFF": 500, "JPEG": 15, "WEBP": 10, "AVIF": 10, "JPEG2000": 10}
    assert {name: count[name] for name in least if count[name] < least[name]} == {}
    assert set(plugins()) <= set(count)
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("container", containers())
def test_every_patch_has_its_colour_and_only_changed_kinds_a_new_version(container):
    wrong = []
    for case in cases():
        if case.container != container:
            continue
        data = case.make()
        now = np.asarray(open_picture(data))
        off = np.abs(now[SIDE // 2, SIDE // 2 :: SIDE] / 255 - case.expected).max() * 255
        if off > case.tolerance:
            wrong.append(f"{case.name}: {off:.2f} levels off, {case.tolerance:.2f} allowed")
        then = formerly(data)
        if then is not None and (picture_facts(data).reading == 1) != np.array_equal(then, now):
            wrong.append(f"{case.name}: version {picture_facts(data).reading}")
    assert wrong == []


def formerly(data):
    """The pixels by reading version 1; ``None`` where it made none, which no key can name."""
    try:
        return np.asarray(before.open_picture(data))
    except Exception:  # it was not guarded
        return None


@needs_debian("imagemagick")
def test_imagemagick_says_the_same(tmp_path, record_property):
    asked = [case for case in cases() if case.peer and case.container != "JXL"]
    seen = peer.peer_colours(asked, tmp_path)
    off = {c.name: np.abs(seen[c.name] - c.expected).max() * 255 for c in asked if c.name in seen}
    record_property("compared", len(seen))
    print(f"compared: {len(seen)}, refused by ImageMagick: {len(asked) - len(seen)}")  # noqa: T201
    allowed = {case.name: case.tolerance for case in asked}
    assert {name: value for name, value in off.items() if value > allowed[name]} == {}
    assert len(seen) > 0.9 * len(asked)


def test_both_versions_occur():
    versions = Counter(
        picture_facts(case.make()).reading for case in cases() if case.container == "PNG"
    )
    assert versions.keys() == {1, 2}
    assert min(versions.values()) > 30
