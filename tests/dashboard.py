"""Prefect's dashboard in Debian's chromium, as the pages of its first user interface are made."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.chaos.processes import until

if TYPE_CHECKING:
    from playwright.sync_api import Page


@contextlib.contextmanager
def browsing(width: int, height: int) -> Iterator[Page]:
    """A page of the browser, which ends with it."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.context.set_default_timeout(60_000)  # of further pages, too
        yield page
        browser.close()


def choose(page: Page, recipe: str) -> None:
    """A recipe, in the form of ``run-recipe``."""
    page.locator(".p-select-button__icon").first.click()
    page.locator(".p-select-option__text").get_by_text(recipe, exact=True).click()


def show_artifact(page: Page, key: str, text: str) -> None:
    """From a run's page to one of its artifacts, which says ``text``."""
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text(key).first.click()
    page.get_by_text(text).first.wait_for()


def open_report(page: Page) -> Page:
    """The report, by the artifact's link; all its pictures were tried."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the report").click()
    report = opened.value
    report.locator("footer").wait_for()
    report.evaluate("for (const image of document.images) image.loading = 'eager'")
    # Asked, not waited for in the page: a wait there goes by eval, which the page's own
    # policy forbids as soon as one picture is late.
    until(lambda: report.evaluate("[...document.images].every(image => image.complete)"), 30.0)
    return report


def pictures(page: Page) -> list[int]:
    """The widths of the pictures on a page, 0 for those that could not be had."""
    widths: list[int] = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    return widths
