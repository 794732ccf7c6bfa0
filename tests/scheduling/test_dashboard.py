"""Prefect's dashboard in a real browser: a run ordered by its form, and what people see of it."""

from __future__ import annotations

import os
import re
import shutil
from uuid import UUID

import pytest

from flows.scheduling.names import RUN_RECIPE, deployment
from flows.scheduling.server import pages, those
from flows.scheduling.shown import REPORT
from tests.chaos.city import PATIENCE
from tests.chaos.processes import until
from tests.debian import needs_debian
from tests.servers.seaweed import ADMIN

from .quick import RECIPE, Run, shown
from .test_people import seeds

BROWSER = shutil.which("chromium")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def page():
    """A page of Debian's chromium. Its console says nothing bad."""
    from playwright import sync_api as playwright

    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=options)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def order(city, page, recipe: str) -> UUID:
    """Choose a recipe in the form, and order it; the run."""
    ui = city.prefect.api.removesuffix("/api")
    id_ = city.client.read_deployment_by_name(deployment(RUN_RECIPE)).id
    page.goto(f"{ui}/deployments/deployment/{id_}/run")
    page.locator(".p-select-button__icon").first.click()
    page.locator(".p-select-option__text").get_by_text(recipe, exact=True).click()

    def runs() -> set[UUID]:
        return {run.id for run in pages(city.client, **those(flows=[RUN_RECIPE]))}

    before = runs()
    page.get_by_role("button", name="Submit").click()
    return until(lambda: next(iter(runs() - before), None), 60.0)


def pictures(page) -> list[int]:
    """The widths of the pictures on a page, 0 for those that could not be had."""
    return page.evaluate("[...document.images].map(image => image.naturalWidth)")


@needs_debian("chromium")
def test_a_run_ordered_by_the_form_ends_with_a_report_that_opens_by_a_click(quick, page):
    run = order(quick, page, "twelve")
    assert quick.ended(run).state.name == "Completed", quick.said()
    until(lambda: "Open the report" in shown(quick, run, REPORT), 30.0)
    ui = quick.prefect.api.removesuffix("/api")
    page.goto(f"{ui}/runs/flow-run/{run}")
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text(REPORT).first.click()
    page.get_by_text("12 done").first.wait_for()
    assert [width for width in pictures(page) if width == 0] == []
    assert ADMIN.key in page.get_by_role("link", name="Open the report").get_attribute("href")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the report").click()
    report = opened.value
    report.locator("footer").wait_for()
    report.evaluate("for (const image of document.images) image.loading = 'eager'")
    report.wait_for_function("[...document.images].every(image => image.complete)")
    assert len(pictures(report)) == 12
    assert min(pictures(report)) > 0
    assert "Its pictures open until" in report.inner_text("footer")


def test_while_a_run_works_its_newest_pictures_are_on_its_page(quick):
    run = Run(quick, next(seeds), RECIPE)

    def moving() -> str:
        text = shown(quick, run.id, REPORT)
        return text if "<img" in text else ""

    text = until(moving, PATIENCE, quick.said)
    assert re.match(rf"## \d+ of {len(run.plan.steps)} pictures\n", text)
    assert "Open the report" not in text
    run.assert_whole()
    until(lambda: "Open the report" in shown(quick, run.id, REPORT), 30.0)
