"""``kontext up`` with real servers, once: started, a run ordered, its report opened, stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import urllib.request
from collections.abc import Iterator

import pytest

from flows.up.launch import noted_process
from tests.chaos.processes import until

from .house import PATIENCE, RECIPE, House


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[House]:
    """One for all of these; its store is a folder. A further server would be ten seconds more."""
    folder = tmp_path_factory.mktemp("up")
    with House(folder, "--store", "pictures", "--tempo", "look=0.5") as made:
        (folder / "recipes" / "ten.yaml").write_text(RECIPE.format(name="ten"))
        made.start()
        yield made


def opened(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own
        return answer.read()


def test_it_tells_its_addresses_and_each_answers(house):
    told = house.said()
    dashboard = re.search(r"dashboard  (\S+)", told)[1]
    assert json.loads(opened(f"{dashboard}/ui-settings"))["api_url"] == f"{dashboard}/api"
    pages = re.findall(r"http://\S+/health/ready", told)
    pages.append(f"{house.variables['KONTEXT_FILES_URL']}/health/ready")
    for page in pages:
        opened(page)
        assert b"# TYPE kontext_" in opened(page.replace("health/ready", "metrics"))
    assert len(pages) == 3


def test_it_shows_no_secret_and_keeps_none_where_others_may_read(house):
    assert stat.S_IMODE((house.state / "environment").stat().st_mode) == 0o600
    assert "AWS_SECRET_ACCESS_KEY" not in house.variables  # a folder needs none


def test_a_second_one_on_the_same_folder_is_refused_and_the_first_stays(house):
    done = house.kontext("up", *house.options)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"\S+: runs already; expected one .*; look with .*\n", done.stderr)
    assert house.kontext("status").returncode == 0


def test_a_run_is_made_and_its_report_opens_where_the_dashboard_says(house):
    done = house.kontext("run", "recipes/ten.yaml", "--prefect", variables=house.variables)
    assert done.returncode == 0, done.stderr

    def link() -> str:
        with house.client as client:
            asked = {"artifacts": {"key": {"any_": ["kontext-report"]}}}
            texts = [one["data"] for one in client.request("POST", "/artifacts/filter", json=asked)
                     .json()]  # fmt: skip
        links = [re.search(r"\((?:<)?(http://[^)>]+)", str(text)) for text in texts]
        return next((found[1] for found in links if found), "")

    page = opened(until(link, 60, house.said)).decode()
    assert "<title>" in page
    url = until(link, 1, house.said)
    picture = re.search(r'"(thumbs/[^"]+)"', page)[1]
    assert opened(f"{url.rpartition('/')[0]}/{picture}")[:4] == b"RIFF"


def test_who_is_killed_is_back(house):
    pid = house.state.processes()["parents"]
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: house.state.processes().get("parents", pid) != pid, PATIENCE)


def test_ctrl_c_stops_all_in_order_and_down_has_nothing_left(house):
    pids = [*house.state.processes().values(), house.state.supervisor()]
    assert house.interrupt() == 0
    told = house.said()
    order = [told.index(f"{name} has ended") for name in ("worker", "server", "files")]
    assert order == sorted(order)
    assert house.gone(pids)
    down = house.kontext("down")
    assert (down.returncode, down.stdout) == (0, f"{house.state.path}: nothing of it runs\n")
    assert house.kontext("status").returncode == 1
    assert noted_process(house.state.run / "server.pid") is None
