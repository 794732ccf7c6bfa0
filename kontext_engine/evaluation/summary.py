"""A studio report as JSON: every figure, what it was measured with, and its baselines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from kontext_engine.evaluation.captions import caption_figures, render_figures
from kontext_engine.evaluation.drift import TURNS, Course, Drift
from kontext_engine.evaluation.figures import EditFigures, edit_figures, local_scores
from kontext_engine.evaluation.items import CATEGORIES, CHANCE, FIRST_SEED, OTHERS, TELLABLE
from kontext_engine.evaluation.score import THRESHOLD, Share
from kontext_engine.evaluation.studio import StudioReport

VERSION = 1
UNCOVER_NOTE = (
    "uncover has no eight variants: its candidates are the picture without an occluder (truth), "
    "with seven other occluders in the same place, and the unchanged source"
)


def all_figures(report: StudioReport) -> tuple[EditFigures, ...]:
    """Of each category, then ``overall``."""
    stranger = report.retrieval.stranger_95
    rows = [edit_figures(name, report.category(name), stranger) for name in CATEGORIES]
    return (*rows, edit_figures("overall", report.edits, stranger))


def local_preservation(report: StudioReport) -> dict[str, float | int | None]:
    """Preservation over the categories that ask for a local edit."""
    figures = edit_figures("local", local_scores(report.edits), report.retrieval.stranger_95)
    return figures.keep.as_json()


def drift_lines(drift: Drift) -> dict[str, Any]:
    """Per turn (0 is the source): quartiles of identity and of artefact energy, in levels."""
    sides = {"model": drift.model, "truth": drift.truth, "autoencoder": drift.codec}
    return {
        measure: {name: _quartiles(course, measure) for name, course in sides.items()}
        for measure in ("identity", "artefacts")
    }


def _quartiles(course: Course, measure: str) -> dict[str, list[float]]:
    values = course.identity if measure == "identity" else course.artefacts
    names = {"low": 25, "median": 50, "high": 75}
    return {name: np.percentile(values, q, axis=0).tolist() for name, q in names.items()}


def as_json(report: StudioReport) -> dict[str, Any]:
    """The whole report; shares are 0..1, PSNR in dB, times in seconds."""
    rows = all_figures(report)
    settings, engine = report.settings, report.engine
    return {
        "bench": "studio",
        "version": VERSION,
        "model": {"name": engine.spec.name, "digest": engine.spec.digest},
        "numerics": asdict(engine.numerics),
        "settings": {
            "steps": settings.steps, "seed": settings.seed, "batch": settings.batch,
            "limit": settings.limit, "size": settings.edge, "true_cfg": settings.true_cfg,
            "first_family_seed": FIRST_SEED,
            "mask_threshold": THRESHOLD, "told_apart_by": TELLABLE, "candidates": OTHERS + 2,
        },
        "items_digest": report.items_digest,
        "counts": {
            "edits": len(report.edits), "captions": len(report.captions),
            "chains": len(report.drift.chains), "turns": len(TURNS),
            "pictures": settings.pictures,
        },
        "seconds": {"all": report.seconds, "engine": report.engine_seconds},
        "instruction_accuracy": {row.name: row.accuracy.as_json() for row in rows},
        "chance": CHANCE,
        "notes": [UNCOVER_NOTE],
        "categories": {row.name: row.as_json() for row in rows},
        "preservation_psnr_local": local_preservation(report),
        "identity_net": {
            "digest": report.identity.digest, "trained": dict(report.identity.record),
            "held_out_retrieval": report.retrieval.as_json(),
        },
        "text_to_image": _text_to_image(report),
        "drift": {
            "turns": list(TURNS),
            "stranger_95": report.retrieval.stranger_95,
            "above_strangers_at_end": above(report.drift, report.retrieval.stranger_95).as_json(),
            **drift_lines(report.drift),
        },
    }  # fmt: skip


def above(drift: Drift, stranger: float) -> Share:
    """In how many chains the last picture is more like the first than strangers are."""
    last = drift.model.identity[:, -1] > stranger
    return Share(int(last.sum()), len(last))


def _text_to_image(report: StudioReport) -> dict[str, Any]:
    figures = caption_figures(list(report.captions), len(report.identity.classes))
    renders = render_figures(list(report.renders))
    shown = {k: v.as_json() if isinstance(v, Share) else v for k, v in figures.items()}
    return {**shown, "classifier_on_true_renders": {k: v.as_json() for k, v in renders.items()}}
