"""``kontext eval autoencoder``: what it gives back of held-out pictures, and its work."""

from __future__ import annotations

from pathlib import Path

from kontext_engine.evaluation.studio import find_cutouts
from kontext_engine.evaluation.tables import Table, number
from kontext_engine.training.inherit import load_autoencoder
from kontext_engine.training.reconstruction import (
    Reconstruction,
    held_out_pictures,
    measure,
    work,
)

FAMILIES = 12
SETS = (("bare subjects", 8), ("28 looks", 28))  # name, the first looks of each family


def evaluate_autoencoder(model: str, cutouts: Path | None = None) -> tuple[str, Table]:
    """A headline with the work of one picture, and the figures by set of pictures.

    ``model`` is a model, or the folder of an autoencoder; float32 on the CPU.

    Raises:
        ModelError: it is neither.
        EvaluationError: there are no cut-outs.
    """
    found = find_cutouts(cutouts)
    autoencoder = load_autoencoder(model)
    encoder, decoder = work(autoencoder)
    millions = sum(p.numel() for p in autoencoder.parameters()) / 1e6
    head = (
        f"{model}: {encoder + decoder:.2f} GFLOP a picture of 128x128 ({encoder:.2f} to encode, "
        f"{decoder:.2f} to decode), {millions:.2f} M parameters"
    )
    rows = []
    for name, looks in SETS:
        pixels = held_out_pictures(found, FAMILIES, looks)
        rows.append((name, str(len(pixels)), *_cells(measure(autoencoder, pixels))))
    return head, Table(
        "Held-out pictures through the autoencoder",
        ("pictures", "count", "PSNR dB", "SSIM", "high freq.", "truth's", "share of truth's"),
        tuple(rows),
    )


def _cells(measured: Reconstruction) -> tuple[str, ...]:
    return (
        number(measured.psnr, 2), number(measured.ssim, 4), number(measured.energy, 2),
        number(measured.true_energy, 2), f"{100 * measured.sharpness:.0f} %",
    )  # fmt: skip
