import re
from html import unescape

import pytest

from kontext_engine.evaluation.items import CATEGORIES
from kontext_engine.evaluation.pages import PAGES, write_pages
from kontext_engine.evaluation.plot import Line, draw_plot
from kontext_engine.evaluation.tables import report_tables, retrieval_line


@pytest.fixture(scope="module")
def pages(knowing, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    index = write_pages(knowing[0], folder)
    assert index == folder / "index.html"
    return {path.stem: path.read_text("utf-8") for path in folder.glob("*.html")}


def test_there_is_a_page_for_everything(pages):
    assert set(pages) == {name for name, _ in PAGES} >= {*CATEGORIES, "drift", "text-to-image"}


def test_pages_need_nothing_from_elsewhere(pages):
    allowed = {f"{name}.html" for name, _ in PAGES}
    for text in pages.values():
        assert set(re.findall(r'href="([^"]*)"', text)) <= allowed
        assert all(
            s.startswith("data:image/webp;base64,") for s in re.findall(r'src="([^"]*)', text)
        )
        assert not re.search(r"url\(|@import|<script", text)


def test_every_edit_shows_source_output_and_truth_with_its_prompt(pages, knowing):
    for category in CATEGORIES:
        scores = knowing[0].category(category)
        cards = re.findall(r"<figure class=.*?</figure>", pages[category], re.DOTALL)
        assert len(cards) == len(scores)
        assert all(card.count("<img") == 3 for card in cards)
        assert all(any(s.item.prompt in unescape(card) for card in cards) for s in scores)


def test_the_worst_come_first_and_are_marked(copying, tmp_path):
    write_pages(copying[0], tmp_path)
    text = (tmp_path / "weather.html").read_text("utf-8")
    assert text.count('<figure class="wrong">') == len(copying[0].category("weather"))
    assert '<span class="mark">unchanged</span>' in text
    shown = [float(x) for x in re.findall(r"edit ([\d.]+) dB", text)]
    assert shown == sorted(shown)


def test_the_overview_has_every_figure(pages, knowing):
    for table in report_tables(knowing[0]):
        for cell in (*table.head, *(c for row in table.rows for c in row)):
            assert cell in unescape(pages["index"])
    assert retrieval_line(knowing[0]) in unescape(pages["index"])


def test_the_drift_page_plots_the_reference_line(pages):
    assert pages["drift"].count("<svg") == 2
    assert "strangers, 95 %" in pages["drift"]
    assert pages["drift"].count("<polyline") == 6


def test_a_plot_escapes_and_stays_inside_its_frame():
    line = Line("a < b", "#000", [0, 5, 10], [0, 4, 9], [1, 6, 11])
    svg = draw_plot("x & y", ["1", "2", "<3>"], [line], {"ref": 20.0})
    assert "a &lt; b" in svg and "x &amp; y" in svg and "&lt;3&gt;" in svg
    points = re.search(r'<polyline points="([^"]*)"', svg)[1].split()
    ys = [float(p.split(",")[1]) for p in points]
    assert ys == sorted(ys, reverse=True)
    assert max(ys) == 260  # zero stands on the axis
    assert min(ys) > 30
