"""``python -m tests.up.browser [--pictures FOLDER]``: ``kontext up`` as a person sees it.

The sample storyboard's twelve pictures are ordered from the dashboard's form in a real browser,
made by the shipped miniature, and looked at in the report, which a click opens. Times are of this
machine at this moment; pictures of the pages go into FOLDER.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from flows.scheduling.shown import REPORT
from tests.chaos.processes import until
from tests.dashboard import browsing, choose, open_report, pictures, show_artifact

from .house import PATIENCE, ROOT, House

RECIPE, PICTURES = "storyboard", 12
LONGER = ("style-series", "defaults.steps=40")  # a run to be seen at work,
ENOUGH = 20  # with so many of its pictures made
WIDE, HIGH = 1300, 930
NEWEST = 607  # of the page with the newest pictures, below which it is empty
WIDTH = 900  # pixels of a picture in docs


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Visitor:
    """Somebody at a browser, who takes pictures of what is seen."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder

    def keep(self, name: str, page: Page | None = None, high: int = HIGH) -> None:
        page = page or self.page
        page.wait_for_timeout(1500)  # until what moves has come to rest
        with Image.open(io.BytesIO(page.screenshot())) as whole:
            shot = whole.convert("RGB").crop((0, 0, WIDE, high))
            height = round(shot.height * WIDTH / shot.width)
            small = shot.resize((WIDTH, height), Image.Resampling.LANCZOS)
            small.save(self.folder / f"{name}.jpg", quality=85)

    def order(self) -> None:
        """To the form by clicks, filled in and sent."""
        page = self.page
        page.get_by_role("button", name="Not now").click()  # the server's other dashboard
        page.locator("a[href='/deployments']").click()
        listed = page.locator("a[href^='/deployments/deployment/']")
        listed.filter(has_text="run-recipe").first.click()
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Custom run").click()
        page.get_by_text("Output prefix").wait_for()
        choose(page, RECIPE)
        self.keep("form")
        page.get_by_role("button", name="Submit").click()

    def report(self, run: str) -> Page:
        """From the run's page to its report, by clicks."""
        page = self.page
        page.goto(run)
        page.get_by_text("Completed").first.wait_for()
        self.keep("graph")
        show_artifact(page, REPORT, f"{PICTURES} done")
        self.keep("ended")
        report = open_report(page)
        report.set_viewport_size({"width": WIDE, "height": HIGH})
        self.keep("opened", report)
        return report

    def at_work(self, run: str) -> None:
        """A run's page under Artifacts while it works, and the page of its newest pictures."""
        page = self.page
        page.goto(run)
        page.get_by_text("Artifacts", exact=True).first.click()
        page.get_by_text(REPORT).first.wait_for()
        self.keep("working")
        page.get_by_text(REPORT).first.click()
        page.get_by_role("heading", name=re.compile(r"of \d+ pictures")).wait_for()
        self.keep("newest", high=NEWEST)


def made(metrics: str) -> int:
    """How many steps the worker says are made."""
    with urllib.request.urlopen(metrics, timeout=10) as answer:  # noqa: S310 - our own
        found = re.search(r'kontext_steps_total\{state="done"\} (\S+)', answer.read().decode())
    return int(float(found[1])) if found else 0


def visit(house: House, visitor: Visitor) -> None:
    began = time.monotonic()
    up = house.start()
    told = house.said()
    dashboard = re.search(r"dashboard  (\S+)", told)[1]
    metrics = re.search(r"health +(\S+)/health/ready", told)[1] + "/metrics"
    visitor.page.goto(dashboard)
    visitor.page.get_by_text("Run a task or flow to get started").wait_for()
    say(f"from command to 'all is up' {up:.1f} s, to the dashboard in the browser "
        f"{time.monotonic() - began:.1f} s")  # fmt: skip
    visitor.order()
    ordered = time.monotonic()
    with house.client as client:
        runs = until(client.read_flow_runs, 60, house.said)
    until(lambda: made(metrics) > 0, PATIENCE, house.said)
    first = time.monotonic() - ordered
    until(lambda: made(metrics) >= PICTURES, PATIENCE, house.said)
    last = time.monotonic() - ordered
    (run,) = (run for run in runs if run.parent_task_run_id is None)
    until(lambda: house.state_of(str(run.id)) == "Completed", PATIENCE, house.said)
    ended = time.monotonic() - ordered
    say(f"from order to first picture {first:.1f} s, to the last {last:.1f} s, "
        f"to Completed {ended:.1f} s")  # fmt: skip
    report = visitor.report(f"{dashboard}/runs/flow-run/{run.id}")
    widths = pictures(report)
    assert widths and min(widths) > 0, widths
    until_when = report.locator("footer").inner_text()
    say(f"report: {len(widths)} pictures, each of them shown; {until_when}")
    report.close()
    visitor.page.goto(f"{dashboard}/dashboard")
    visitor.page.get_by_text("Flow Runs").first.wait_for()
    visitor.keep("dashboard")
    second = house.order(*LONGER)
    until(lambda: made(metrics) >= PICTURES + ENOUGH, PATIENCE, house.said)
    visitor.at_work(f"{dashboard}/runs/flow-run/{second}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, default=Path("pages"), help="where they go")
    given = parser.parse_args()
    given.pictures.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="kontext-up-") as folder,
        browsing(WIDE, HIGH) as page,
        House(Path(folder)) as house,
    ):
        house.options = ("--recipes", str(ROOT / "recipes"))  # and the real engine
        visit(house, Visitor(page, given.pictures))
        say(f"Ctrl-C: {house.interrupt()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
