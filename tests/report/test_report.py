"""The page: beside its pictures, escaped, telling every failure; made again from the manifest."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from flows.run.execute import run_plan
from flows.run.manifest import Manifest, ManifestError, read_manifest
from flows.run.pipeline import Hooks, RunRequest, publish, run_folder, run_recipe
from flows.run.report.view import duration
from flows.run.report.write import write_report
from flows.store.local import LocalStore
from kontext_engine.fake import FakeFaults

from ..run.samples import (
    PlanMaker,
    WatchedEngine,
    draw_picture,
    manifest_in,
    product_plan,
    source,
    ten_products,
)

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}&lt;"


class Page(HTMLParser):
    """Collects the tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def run(plan, out: Path, **engine):
    watched = WatchedEngine(**engine)
    hooks = Hooks(factory=lambda plan, out, batch: watched.load)
    finished = run_recipe(plan, RunRequest(Path("x.yaml"), out), hooks)
    return finished, Path(finished.report).read_text()


@pytest.fixture
def products(tmp_path):
    return ten_products(tmp_path / "in")


def test_the_page_shows_each_variants_strip(tmp_path, products):
    plan = product_plan(products)
    finished, text = run(plan, tmp_path / "out")
    page = Page(text)
    assert "autumn looks" in page.text
    assert "All done" in page.text
    assert len(page.all("article")) == 10
    assert len(page.all("img")) == 30
    assert sum("arrow" in (li.get("class") or "") for li in page.all("li")) == 20
    for step in plan.steps.values():
        assert step.params.prompt in page.text
        assert any(button.get("value") == step.key for button in page.all("button"))
    links = [a["href"] for a in page.all("a") if a.get("class") == "file"]
    assert len(links) == 10
    assert links[0] == "product%3Dp0.png"
    assert (Path(finished.folder) / "product=p0.png").is_file()


def test_only_the_runs_own_pictures_are_fetched(tmp_path, products):
    finished, text = run(product_plan(products), tmp_path / "out")
    page = Page(text)
    for _, attrs in page.tags:
        assert not {"data", "poster", "srcset", "action"} & set(attrs)
    for image in page.all("img"):
        assert re.fullmatch(r"thumbs/[0-9a-f]{64}-\d+x48\.webp", image["src"])
        with Image.open(Path(finished.folder) / image["src"]) as thumb:
            assert thumb.size == (int(image["width"]), int(image["height"]))
    assert "img-src 'self' file:; " in policy(page)
    assert not page.all("link")
    assert not page.all("iframe")
    assert "url(" not in text
    assert "@import" not in text
    assert not re.search(r"https?://", text)


def policy(page: Page) -> str:
    return next(m["content"] for m in page.all("meta") if "http-equiv" in m)


def test_links_work_wherever_the_folder_is_put(tmp_path, products):
    """A colon would make a scheme of a relative name, a hash would cut it."""
    plan = product_plan(products[:1], path="a:b/c#d?{}%20.png")
    _, text = run(plan, tmp_path / "out")
    links = [a["href"] for a in Page(text).all("a") if a.get("class") == "file"]
    assert links == ["a%3Ab/c%23d%3Fp0%2520.png"]


def test_only_the_pages_own_script_may_run(tmp_path, products):
    _, text = run(product_plan(products[:1]), tmp_path / "out")
    allowed = policy(Page(text))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in allowed
    assert "default-src 'none'" in allowed
    assert not re.search(r"\son\w+=", text)


def test_hostile_texts_stay_text(tmp_path):
    picture = draw_picture(tmp_path / "in" / '<svg onload="x">&.png', 1)
    maker = PlanMaker()
    step = maker.step(HOSTILE, HOSTILE, [source(picture, HOSTILE)], HOSTILE, true_cfg=2.0,
                      negative_prompt=HOSTILE)  # fmt: skip
    bad = maker.step("bad", f"FAIL {HOSTILE}", [step], HOSTILE)
    maker.variant(HOSTILE, {HOSTILE: HOSTILE}, [step, bad])
    maker.outputs.clear()
    maker.variant("second", {}, [step], path="a b/<i2>#?%.png")
    _, text = run(maker.plan(HOSTILE), tmp_path / "out", faults=FakeFaults(prompts=("FAIL",)))
    page = Page(text)
    assert len(page.all("script")) == 1
    names = {name for _, attrs in page.tags for name in attrs}
    assert names.isdisjoint({"onerror", "onload"})
    assert not [attrs for attrs in page.all("img") if not attrs["src"].startswith("thumbs/")]
    assert not page.all("i2")
    assert HOSTILE in page.text.replace("  ", " ")
    assert "a%20b/%3Ci2%3E%23%3F%25.png" in [a.get("href") for a in page.all("a")]


def test_failures_are_told_at_the_top_once_per_reason(tmp_path, products):
    products[3].write_bytes(b"broken")
    maker = PlanMaker()
    for scene in ("beach", "street"):
        for path in products[2:4]:
            variant = f"product={path.stem},scene={scene}"
            place = maker.step("place", scene, [source(path)], variant)
            snow = maker.step("snow", "snow", [place], variant)
            maker.variant(variant, {"product": path.stem, "scene": scene}, [place, snow])
    _, text = run(maker.plan(), tmp_path / "out")
    page = Page(text)
    top, _, rows = text.partition("<article")
    assert "2 failed, 2 blocked by them" in Page(top).text
    assert top.count("p3.png (input &#39;product&#39;): not a picture") == 1
    assert "blocks snow[product=p3,scene=beach]" in Page(top).text
    assert 'href="#v2"' in top
    troubled = [a for a in page.all("article") if "troubled" in a["class"]]
    assert [a["id"] for a in troubled] == ["v2", "v4"]
    assert any(i.get("id") == "only-failed" for i in page.all("input"))
    assert rows.count('class="broken"') == 2  # the source itself is shown as broken


def test_an_interrupted_run_says_how_to_go_on(tmp_path, products):
    plan = product_plan(products[:2])
    store = LocalStore(tmp_path / "out")
    outcome = run_plan(plan, store, WatchedEngine().load, cancelled=lambda: True)
    finished = publish(plan, outcome, store, run_folder(plan, store.objects))
    page = Page(Path(finished.report).read_text())
    assert "Interrupted before everything was made" in page.text
    assert "somebody asked to stop; run again to go on" in page.text
    assert page.text.count("not reached") == 5  # four tiles and the figure at the top
    assert page.text.count("the run ended before its turn") == 4


def test_a_step_that_does_not_read_its_neighbour_names_what_it_reads(tmp_path, products):
    maker = PlanMaker()
    left = maker.step("left", "l", [source(products[0])], "a")
    right = maker.step("right", "r", [source(products[1])], "a")
    both = maker.step("both", "b", [left, right], "a")
    maker.variant("a", {}, [left, right, both])
    _, text = run(maker.plan(), tmp_path / "out")
    assert "from p0.png" in Page(text).text
    assert "from left + right" in Page(text).text


def test_the_page_is_made_again_without_the_inputs(tmp_path, products):
    """Made again on another machine: no input files, no thumbnails but those in the folder."""
    plan = product_plan(products[:2])
    finished, text = run(plan, tmp_path / "out")
    for path in products:
        path.unlink()
    store = LocalStore(tmp_path / "out")
    assert write_report(finished.run, read_manifest(finished.run), store)
    assert Path(finished.report).read_text() == text
    for thumb in (Path(finished.folder) / "thumbs").iterdir():
        thumb.unlink()
    write_report(finished.run, read_manifest(finished.run), store)
    page = Page(Path(finished.report).read_text())
    assert len(page.all("img")) == 4  # the steps', from the store
    assert page.text.count("not at hand") == 2


def test_a_picture_lost_from_the_store_is_told(tmp_path, products):
    finished, _ = run(product_plan(products[:1]), tmp_path / "out")
    out = tmp_path / "out"
    for folder in (Path(finished.folder) / "thumbs", out / "thumbs", out / "blobs"):
        for path in folder.iterdir():
            path.unlink()
    manifest = read_manifest(finished.run)
    write_report(finished.run, manifest, LocalStore(tmp_path / "out"))
    assert "its picture is not in the store" in Page(Path(finished.report).read_text()).text


def test_the_manifest_holds_no_path_of_the_machine(tmp_path, products):
    products[3].write_bytes(b"broken")
    finished, text = run(product_plan(products), tmp_path / "out")
    assert str(tmp_path) not in Path(finished.manifest_path).read_text()
    assert str(tmp_path) not in text
    again = Manifest.model_validate_json(Path(finished.manifest_path).read_text())
    assert again == finished.manifest


@pytest.mark.parametrize("data", ["", "[]", '{"schema": "kontext.manifest", "version": 2}'])
def test_what_is_not_a_manifest_is_said_in_one_line(tmp_path, data):
    (tmp_path / "manifest.json").write_text(data)
    with pytest.raises(ManifestError, match=r"not a manifest this version can read \(.*\); run"):
        manifest_in(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.004, "0.00 s"), (9.99, "9.99 s"), (9.996, "10 s"), (59.6, "1 min 00 s"),
     (185, "3 min 05 s"), (3599.7, "1 h 00 min"), (7805, "2 h 10 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text
