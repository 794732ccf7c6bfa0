"""The bench's tables as rows of text, the same in the terminal and on the pages."""

from __future__ import annotations

from dataclasses import dataclass

from kontext_engine.evaluation.captions import caption_figures, render_figures
from kontext_engine.evaluation.drift import TURNS, Drift
from kontext_engine.evaluation.figures import Decibels, EditFigures
from kontext_engine.evaluation.items import CHANCE
from kontext_engine.evaluation.score import Share
from kontext_engine.evaluation.studio import StudioReport
from kontext_engine.evaluation.summary import all_figures, drift_lines

NONE = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column heads and rows of cells."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(part: Share, interval: bool = False) -> str:
    """``83 %`` or, with its 95 % interval, ``83 % (76–89)``."""
    if not part.count:
        return NONE
    low, high = part.interval
    span = f" ({100 * low:.0f}–{100 * high:.0f})" if interval else ""
    return f"{100 * part.value:.0f} %{span}"


def number(value: float | None, digits: int = 1) -> str:
    """A figure, or a dash where there is none."""
    return NONE if value is None else f"{value:.{digits}f}"


def decibels(side: Decibels) -> str:
    """``24.1 / 31.0``: the output's and the autoencoder's."""
    return NONE if side.output is None else f"{number(side.output)} / {number(side.ceiling)}"


def accuracy_table(rows: tuple[EditFigures, ...]) -> Table:
    """Instruction accuracy beside its baselines, and fidelity beside the autoencoder's."""
    head = (
        "category", "edits", "accuracy (95 %)", "truth via VAE", "copy", "shuffled",
        "edit dB / VAE", "kept dB / VAE",
    )  # fmt: skip
    return Table(
        f"Instruction accuracy (chance {100 * CHANCE:.0f} %) and fidelity",
        head,
        tuple(
            (
                row.name, str(row.accuracy.count), percent(row.accuracy, interval=True),
                percent(row.ceiling), percent(row.copy), percent(row.shuffled),
                decibels(row.edit), decibels(row.keep),
            )
            for row in rows
        ),
    )  # fmt: skip


def identity_table(rows: tuple[EditFigures, ...], stranger: float) -> Table:
    """Identity beside edit success and the copy baseline."""
    return Table(
        f"Identity with the source (different subjects: 95 % below {stranger:.2f})",
        ("category", "output", "truth", "copy", "above strangers", "right and above", "right"),
        tuple(
            (
                row.name, number(row.identity.output, 2), number(row.identity.truth, 2), "1.00",
                percent(row.identity.above), percent(row.identity.right_and_same),
                percent(row.accuracy),
            )
            for row in rows
        ),
    )  # fmt: skip


def sharpness_table(rows: tuple[EditFigures, ...]) -> Table:
    """Detail of the kept part, and how far edges differ, beside the autoencoder's own."""
    head = (
        "category", "edits", "correlation / VAE", "energy / VAE / truth", "of VAE's", "of truth's",
        "edges apart / VAE / copy",
    )  # fmt: skip

    def row(one: EditFigures) -> tuple[str, ...]:
        fine = one.fine
        shares = (
            NONE if s is None else f"{100 * s:.0f} %" for s in (fine.of_autoencoder, fine.of_truth)
        )
        parts = ((fine.correlation, 2), (fine.energy, 2), (fine.deviation, 3))
        told = [" / ".join(number(v, digits) for v in values) for values, digits in parts]
        return (one.name, str(fine.count), *told[:2], *shares, told[2])

    title = "Sharpness where nothing was to change (levels), and edges everywhere (0: the truth's)"
    return Table(title, head, tuple(map(row, rows)))


def drift_table(drift: Drift) -> Table:
    """Medians per turn."""
    lines = drift_lines(drift)
    head = ("median", "source", *(f"{k}. {turn}" for k, turn in enumerate(TURNS, start=1)))
    rows = [
        (f"{label}, {side}", *(number(v, digits) for v in lines[measure][side]["median"]))
        for measure, label, digits in (("identity", "identity", 2), ("artefacts", "high freq.", 2))
        for side in ("model", "truth", "autoencoder")
    ]
    title = f"Drift over {len(TURNS)} turns, {len(drift.chains)} chains"
    return Table(title, head, tuple(rows))


def caption_table(report: StudioReport) -> Table:
    """Text-to-image, beside the classifier on true renders and on renders of something else."""
    figures = caption_figures(list(report.captions), len(report.identity.classes))
    renders = render_figures(list(report.renders))

    def row(label: str, key: str, *others: str) -> tuple[str, ...]:
        return (label, percent(figures[key], True), _of(renders[key]), *others)

    rows = (
        row("scene", "scene", percent(renders["elsewhere_scene"]),
            f"{100 * figures['chance_scene']:.1f} %"),
        row("subject", "subject", percent(renders["elsewhere_subject"]),
            f"{100 * figures['chance_subject']:.1f} %"),
        row("subject, props", "subject_props", "", ""),
        row("subject, other nouns", "subject_ordinary", "", ""),
        row("both", "both", "", ""),
    )  # fmt: skip
    title = f"Text-to-image, {len(report.captions)} captions, read by a classifier"
    return Table(title, ("named", "pictures", "true renders", "of something else", "chance"), rows)


def _of(part: Share) -> str:
    return f"{percent(part)} of {part.count}" if part.count else NONE


def retrieval_line(report: StudioReport) -> str:
    """What the identity net is worth, in a sentence."""
    found = report.retrieval
    return (
        f"Identity net, trained on {report.identity.record.get('subjects', '?')} training "
        f"subjects: finds {100 * found.accuracy:.0f} % of {found.subjects} held-out subjects on "
        f"another scene (chance {100 / found.subjects:.1f} %); same subject "
        f"{found.same_median:.2f}, different {found.stranger_median:.2f}, 95 % below "
        f"{found.stranger_95:.2f}."
    )


def report_tables(report: StudioReport) -> tuple[Table, ...]:
    """All tables."""
    rows = all_figures(report)
    return (
        accuracy_table(rows),
        identity_table(rows, report.retrieval.stranger_95),
        sharpness_table(rows),
        caption_table(report),
        drift_table(report.drift),
    )
