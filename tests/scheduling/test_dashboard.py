"""Prefect's dashboard in a real browser: a run ordered by its form, and what people see of it."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from flows.scheduling.names import RUN_RECIPE, deployment
from flows.scheduling.server import pages, those
from flows.scheduling.shown import REPORT
from tests.chaos.city import PATIENCE
from tests.chaos.processes import until
from tests.dashboard import browsing, choose, open_report, pictures, show_artifact
from tests.debian import needs_debian
from tests.servers.seaweed import ADMIN

from .quick import Run, shown
from .test_people import FEW, seeds


@pytest.fixture
def page():
    """A page of Debian's chromium."""
    with browsing(1300, 1000) as page:
        yield page


def order(city, page, recipe: str) -> UUID:
    """Choose a recipe in the form, and order it; the run."""
    ui = city.prefect.api.removesuffix("/api")
    id_ = city.client.read_deployment_by_name(deployment(RUN_RECIPE)).id
    page.goto(f"{ui}/deployments/deployment/{id_}/run")
    choose(page, recipe)

    def runs() -> set[UUID]:
        return {run.id for run in pages(city.client, **those(flows=[RUN_RECIPE]))}

    before = runs()
    page.get_by_role("button", name="Submit").click()
    return until(lambda: next(iter(runs() - before), None), 60.0)


@needs_debian("chromium")
def test_a_run_ordered_by_the_form_ends_with_a_report_that_opens_by_a_click(quick, page):
    run = order(quick, page, "twelve")
    assert quick.ended(run).state.name == "Completed", quick.said()
    until(lambda: "Open the report" in shown(quick, run, REPORT), 30.0)
    ui = quick.prefect.api.removesuffix("/api")
    page.goto(f"{ui}/runs/flow-run/{run}")
    show_artifact(page, REPORT, "12 done")
    assert [width for width in pictures(page) if width == 0] == []
    assert ADMIN.key in page.get_by_role("link", name="Open the report").get_attribute("href")
    report = open_report(page)
    assert len(pictures(report)) == 12
    assert min(pictures(report)) > 0
    assert "Its pictures open until" in report.inner_text("footer")


@pytest.mark.gate
def test_while_a_run_works_its_newest_pictures_are_on_its_page(quick):
    run = Run(quick, next(seeds), only=FEW)

    def moving() -> str:
        text = shown(quick, run.id, REPORT)
        return text if "<img" in text else ""

    text = until(moving, PATIENCE, quick.said)
    assert re.match(rf"## \d+ of {len(run.plan.steps)} pictures\n", text)
    assert "Open the report" not in text
    run.assert_whole()
    until(lambda: "Open the report" in shown(quick, run.id, REPORT), 30.0)
