"""The bench's pages: self-contained HTML, one a category, worst edits first."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kontext_engine.evaluation.captions import CaptionScore
from kontext_engine.evaluation.drift import TURNS, Chain
from kontext_engine.evaluation.figures import EditScore, edit_figures
from kontext_engine.evaluation.items import CATEGORIES
from kontext_engine.evaluation.plot import Line, draw_plot
from kontext_engine.evaluation.studio import StudioReport
from kontext_engine.evaluation.summary import UNCOVER_NOTE, drift_lines
from kontext_engine.evaluation.tables import (
    accuracy_table,
    caption_table,
    drift_table,
    identity_table,
    number,
    report_tables,
    retrieval_line,
)

PAGES = (
    ("index", "overview"),
    *((name, name) for name in CATEGORIES),
    ("text-to-image", "text-to-image"),
    ("drift", "drift"),
)
_COLOURS = {"model": "#3457d5", "truth": "#1e7a4c", "autoencoder": "#b07a00"}
_READING = (
    "Right: inside the area that any of nine candidates changes, the output is nearer (RGB mean "
    "squared error) to its own ground truth than to those of seven other instructions and to the "
    "unchanged source. Edit dB: PSNR where the truth differs from the source; kept dB: elsewhere; "
    "beside each, the truth sent through the autoencoder alone. Shuffled: another item's output "
    "judged as this one's."
)


@dataclass(frozen=True, slots=True)
class Card:
    """Strips of pictures with a caption; ``tone`` is right, wrong or nothing."""

    strips: tuple[tuple[str, ...], ...]
    text: str
    small: str
    tone: str = ""
    mark: str = ""


def write_pages(report: StudioReport, folder: Path) -> Path:
    """Write all pages into ``folder``; the first one's path.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "index": _overview(report),
        **{name: _category(report, name) for name in CATEGORIES},
        "text-to-image": _captions(report),
        "drift": _drift(report),
    }
    environment = Environment(
        loader=PackageLoader("kontext_engine.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    css = Markup(environment.get_template("page.css.j2").render())  # noqa: S704 - our own file
    template = environment.get_template("page.html.j2")
    for name, content in contents.items():
        text = template.render(page=name, pages=PAGES, css=css, **_head(report), **content)
        (folder / f"{name}.html").write_text(text, "utf-8")
    return folder / "index.html"


def _head(report: StudioReport) -> dict[str, Any]:
    settings, spec = report.settings, report.engine.spec
    cut = f" · cut to {settings.limit} a category" if settings.limit else ""
    return {
        "model": spec.name,
        "digest": spec.digest[:12],
        "settings": f"{settings.steps} steps · {settings.edge} px · true_cfg "
        f"{settings.true_cfg:g} · seed {settings.seed}{cut}",
    }


def _content(title: str, **given: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "notes": (), "tables": (), "plots": (), "cards": (), "cards_title": "",
        "cards_class": "cards",
    }  # fmt: skip
    return {**usual, "title": title, **given}


def _overview(report: StudioReport) -> dict[str, Any]:
    notes = (_READING, UNCOVER_NOTE[0].upper() + UNCOVER_NOTE[1:] + ".", retrieval_line(report))
    return _content("Studio bench", notes=notes, tables=report_tables(report))


def _category(report: StudioReport, name: str) -> dict[str, Any]:
    scores = report.category(name)
    stranger = report.retrieval.stranger_95
    rows = (edit_figures(name, scores, stranger),)
    ordered = sorted(scores, key=lambda s: (s.right, s.output.edit))
    note = UNCOVER_NOTE[0].upper() + UNCOVER_NOTE[1:] + "." if name == "uncover" else ""
    return _content(
        name.capitalize(),
        notes=(note,) if note else (),
        tables=(accuracy_table(rows), identity_table(rows, stranger)),
        cards=[_edit_card(report, score) for score in ordered],
        cards_title="Source, output, truth: worst first",
    )


def _edit_card(report: StudioReport, score: EditScore) -> Card:
    kept = "" if score.output.keep is None else f", kept {number(score.output.keep)}"
    return Card(
        strips=(_shown(report.pictures.get(score.item.id, ())),),
        text=score.item.prompt,
        small=(
            f"{score.item.id} · {score.item.subject.noun} · edit {number(score.output.edit)} dB"
            f"{kept} · identity {number(score.likeness.output, 2)}"
        ),
        tone="right" if score.right else "wrong",
        mark=score.verdict,
    )


def _captions(report: StudioReport) -> dict[str, Any]:
    ordered = sorted(report.captions, key=lambda s: s.subject_right + s.scene_right)
    return _content(
        "Text-to-image",
        tables=(caption_table(report),),
        cards=[_caption_card(report, score) for score in ordered],
        cards_title="Worst first",
        cards_class="cards single",
    )


def _caption_card(report: StudioReport, score: CaptionScore) -> Card:
    right = score.subject_right and score.scene_right
    return Card(
        strips=(_shown(report.pictures.get(score.item.id, ())),),
        text=score.item.prompt,
        small=f"read as {score.subject.replace('-', ' ')}, {score.scene}",
        tone="right" if right else "wrong",
        mark="right" if right else "wrong",
    )


def _drift(report: StudioReport) -> dict[str, Any]:
    lines = drift_lines(report.drift)
    ticks = ("source", *TURNS)

    def plotted(measure: str) -> list[Line]:
        return [
            Line(name, _COLOURS[name], side["median"], side["low"], side["high"])
            for name, side in lines[measure].items()
        ]

    stranger = {"strangers, 95 %": report.retrieval.stranger_95}
    plots = (
        draw_plot("Identity with the source (cosine)", ticks, plotted("identity"), stranger),
        draw_plot("High-frequency energy (levels)", ticks, plotted("artefacts"), {}),
    )
    final = report.drift.model.identity[:, -1]
    order = sorted(range(len(final)), key=lambda k: float(final[k]))
    return _content(
        "Drift",
        notes=(
            "Each turn edits the 8-bit picture that the turn before made. Lines are medians, "
            "bands the middle half of the chains; the autoencoder's line is the source encoded "
            "and decoded once a turn. High-frequency energy is what lies above 0.25 cycles a "
            "pixel: more than the truth has is artefacts, less is lost detail. Identity is the "
            "cosine of the identity net's vectors with the chain's first picture.",
        ),
        tables=(drift_table(report.drift),),
        plots=[Markup(plot) for plot in plots],  # noqa: S704 - escaped by draw_plot
        cards=[_chain_card(report, report.drift.chains[k], float(final[k])) for k in order],
        cards_title="Model above, truth below: worst identity first",
        cards_class="chains",
    )


def _chain_card(report: StudioReport, one: Chain, identity: float) -> Card:
    shown = _shown(report.pictures.get(one.id, ()))
    half = len(TURNS) + 1
    return Card(
        strips=(shown[:half], shown[half:]),
        text=" → ".join(one.prompts),
        small=f"{one.id} · {one.subject.noun} · identity {identity:.2f} at the end",
        tone="chain",
    )


def _shown(pictures: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(f"data:image/webp;base64,{base64.b64encode(p).decode()}" for p in pictures)
