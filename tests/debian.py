"""Programs of Debian's that some tests need beside Python: ``@needs_debian("imagemagick")``.

Where one is not installed such a test is skipped, and the reason counted. ``DEBIAN_INSTALLED``
names packages that are known to be there, as ``.ci/run`` has seen to it: then that is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

from .reading import peer

VARIABLE = "DEBIAN_INSTALLED"


def _program(name: str) -> Callable[[], object]:
    return lambda: shutil.which(name)


# Each package, and how it is seen to be there. `.ci/run` installs exactly these.
PACKAGES: dict[str, Callable[[], object]] = {
    "imagemagick": peer.command,
    "libimage-exiftool-perl": _program("exiftool"),
    "libjxl-tools": _program("cjxl"),
    "poppler-utils": _program("pdftotext"),
    "chromium": _program("chromium"),
}


def needs_debian(package: str) -> pytest.MarkDecorator:
    """The mark of a test that needs a package."""
    assert package in PACKAGES, f"{package}: name it in {__name__}, and so in .ci/run"
    return pytest.mark.needs_debian(package)


def check(item: pytest.Item) -> None:
    """Skip, or fail, what needs a package that is not here."""
    for mark in item.iter_markers("needs_debian"):
        (package,) = mark.args
        if PACKAGES[package]():
            continue
        why = f"Debian's {package} is not installed"
        if package in os.environ.get(VARIABLE, "").split():
            pytest.fail(f"{why}, though {VARIABLE} names it", pytrace=False)
        pytest.skip(why)
