"""What tests need of Debian's: skipped and told without it, a failure where it was installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import debian

RUN = Path(__file__).parents[1] / ".ci" / "run"


class Item:
    """A test that needs a package."""

    def iter_markers(self, name):
        assert name == "needs_debian"
        return [debian.needs_debian("poppler-utils").mark]


@pytest.mark.parametrize(
    ("here", "installed", "raised"),
    [
        (True, "", None),
        (True, "poppler-utils", None),
        (False, "", pytest.skip.Exception),
        (False, "imagemagick chromium", pytest.skip.Exception),
        (False, "imagemagick poppler-utils", pytest.fail.Exception),
    ],
)
def test_a_lack_is_skipped_unless_it_was_installed(monkeypatch, here, installed, raised):
    monkeypatch.setitem(debian.PACKAGES, "poppler-utils", lambda: here)
    monkeypatch.setenv(debian.VARIABLE, installed)
    if raised is None:
        debian.check(Item())
        return
    with pytest.raises(raised, match="Debian's poppler-utils is not installed"):
        debian.check(Item())


def test_a_package_that_nobody_installs_cannot_be_needed():
    with pytest.raises(AssertionError, match=r"name it in tests\.debian"):
        debian.needs_debian("cowsay")


def test_ci_installs_what_tests_may_need():
    (listed,) = re.findall(r"^packages=\"([^\"]+)\"", RUN.read_text(), re.MULTILINE)
    assert set(listed.split()) == set(debian.PACKAGES)
    assert f"export {debian.VARIABLE}\n" in RUN.read_text()
