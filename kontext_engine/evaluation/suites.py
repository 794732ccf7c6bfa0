"""``kontext eval drift`` and ``kontext eval references`` without their command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from kontext_engine.evaluation.command import (
    Measured,
    Ready,
    Wanted,
    prepare,
    write_figures,
    written_of,
)
from kontext_engine.evaluation.drift import CHAINS, TURNS, run_drift
from kontext_engine.evaluation.identity.retrieval import measure_retrieval
from kontext_engine.evaluation.items import Cast
from kontext_engine.evaluation.references import (
    CANDIDATES,
    COUNT,
    KINDS,
    SHOWN,
    ReferenceFigures,
    run_references,
)
from kontext_engine.evaluation.score import Share
from kontext_engine.evaluation.summary import above, drift_lines
from kontext_engine.evaluation.tables import Table, drift_table, number, percent

Progress = Callable[[int, int, str], None]  # pictures made, of how many, what is under way


def evaluate_drift(wanted: Wanted, progress: Progress) -> Measured:
    """Chains of six edits alone: identity with the first picture after every turn.

    As in the paper (arXiv 2506.15742, its comparison of multi-turn consistency): the cosine of
    identity embeddings of each turn's picture and the input's. Beside it stand the truths of the
    same chains and the autoencoder alone, which a model can hardly keep more than.

    Raises:
        ModelError: the model cannot be used.
        EvaluationError: see ``prepare``.
    """
    ready, started = prepare(wanted), time.monotonic()
    cast, stranger = _cast(ready, wanted)
    count = min(CHAINS, wanted.limit or CHAINS)
    total, made = count * len(TURNS), [0]

    def advance(more: int) -> None:
        made[0] += more
        progress(made[0], total, "chains")

    drift = run_drift(
        cast, ready.asker, ready.round_trip, ready.identity, count, wanted.batch, advance
    )
    kept = above(drift, stranger)
    figures = {
        "bench": "drift", **_settings(ready, wanted), "turns": list(TURNS), "chains": count,
        "stranger_95": stranger, "above_strangers_at_end": kept.as_json(), **drift_lines(drift),
    }  # fmt: skip
    note = (
        f"after {len(TURNS)} turns {kept.right} of {kept.count} chains are more like their first "
        f"picture than different subjects are (95 % below {stranger:.2f})."
    )
    head = _head(ready, wanted, total, started)
    return Measured(head, (drift_table(drift),), (note,), *_written(wanted, figures))


def evaluate_references(wanted: Wanted, progress: Progress) -> Measured:
    """Style, character, place and text, each beside the bench's own two figures.

    What needs two pictures is not asked of a model that takes one, and said so.

    Raises:
        ModelError: the model cannot be used.
        EvaluationError: see ``prepare``.
    """
    ready, started = prepare(wanted), time.monotonic()
    cast, stranger = _cast(ready, wanted)
    takes = ready.asker.engine.spec.max_contexts
    kinds = [kind for kind in KINDS if SHOWN.get(kind, 1) <= takes]
    count = min(COUNT, wanted.limit or COUNT)
    total, made = count * len(kinds), [0]

    def advance(more: int, what: str) -> None:
        made[0] += more
        progress(made[0], total, what)

    found = run_references(
        cast, ready.asker, ready.round_trip, ready.identity, stranger, kinds, count, wanted.batch,
        advance,
    )  # fmt: skip
    figures = {
        "bench": "references", **_settings(ready, wanted), "stranger_95": stranger,
        "chance": 1 / CANDIDATES,
        "kinds": {f.kind: _as_json(f) for f in found},
    }  # fmt: skip
    left = [kind for kind in KINDS if kind not in kinds]
    notes = ["text has no candidates: it is right as it reads, letter by letter."]
    if left:
        notes.append(f"{' and '.join(left)}: not asked; the model takes {takes} picture, not 2.")
    head = _head(ready, wanted, total, started)
    return Measured(head, (_table(found),), tuple(notes), *_written(wanted, figures))


def _cast(ready: Ready, wanted: Wanted) -> tuple[Cast, float]:
    cast = Cast.of(ready.cutouts)
    tried = None if wanted.limit is None else max(16, 4 * wanted.limit)
    found = measure_retrieval(ready.identity, cast, ready.asker.size, tried)
    return cast, found.stranger_95


def _settings(ready: Ready, wanted: Wanted) -> dict[str, Any]:
    spec = ready.asker.engine.spec
    return {
        "model": {"name": spec.name, "digest": spec.digest},
        "numerics": asdict(wanted.numerics),
        "settings": {
            "steps": ready.asker.steps, "seed": wanted.seed, "batch": wanted.batch,
            "limit": wanted.limit, "size": wanted.edge, "true_cfg": wanted.true_cfg,
        },
    }  # fmt: skip


def _head(ready: Ready, wanted: Wanted, pictures: int, started: float) -> str:
    spec = ready.asker.engine.spec
    return (
        f"{spec.name} ({spec.digest[:12]}), {wanted.edge} px, {ready.asker.steps} steps, seed "
        f"{wanted.seed}: {pictures} pictures in {time.monotonic() - started:.0f} s"
    )


def _written(wanted: Wanted, figures: dict[str, Any]) -> tuple[Any, Any]:
    path = wanted.json_file
    return written_of([] if path is None else [(path, lambda: write_figures(path, figures))])


def _as_json(figures: ReferenceFigures) -> dict[str, Any]:
    return {
        name: value.as_json() if isinstance(value, Share) else value
        for name, value in (
            ("right", figures.right), ("true_targets", figures.truths),
            ("through_autoencoder", figures.passed), ("copies", figures.copies),
            ("identity", figures.identity), ("above_strangers", figures.above),
        )
    }  # fmt: skip


def _table(found: list[ReferenceFigures]) -> Table:
    return Table(
        "References and text (chance 11 %; of text none)",
        ("asked for by", "items", "right (95 %)", "true targets", "truth via VAE", "copies",
         "identity", "above strangers"),
        tuple(
            (
                f.kind, str(f.right.count), percent(f.right, interval=True), percent(f.truths),
                percent(f.passed), percent(f.copies), number(f.identity, 2), percent(f.above),
            )
            for f in found
        ),
    )  # fmt: skip
