"""Training the identity net: which subject is this, whatever the scene, place, tint and light?

Cosine classification over all training subjects (a softmax over prototypes, which start as the
subjects' portraits, scale 16) with a scene head beside it. Of the prototypes only the named
classes' are kept. A few CPU minutes; a pure function of (cut-outs, run) on one thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.evaluation.identity.net import WEIGHTS, IdentityNet, save_identity
from kontext_engine.evaluation.identity.views import ViewMaker
from kontext_engine.mixed import mixed
from kontext_engine.training.cutouts import (
    OCCLUDERS,
    SIGNS,
    THINGS,
    Cutout,
    missing_props,
    order_digest,
    read_set,
    split_of,
)
from kontext_engine.training.scenes import SCENES

_SCALE = 16.0  # of the cosines, before the softmax
_SCENE_WEIGHT = 0.3
_ORDINARY = 40  # classes that are no props: nouns that appear as subjects only
_ORDINARY_FROM = ("Objects", "Animals & Nature", "Food & Drink", "Activities", "Travel & Places")


@dataclass(frozen=True, slots=True)
class IdentityRun:
    """How long and how fast to learn."""

    steps: int = 1800
    batch: int = 96
    peak: float = 3e-3
    warm_up: int = 50
    seed: int = 0


def training_subjects(cutouts: Sequence[Cutout]) -> list[list[Cutout]]:
    """The training split by subject, in order of code; signs are left out.

    Raises:
        EvaluationError: these are not the whole set's cut-outs (`make data` fetches them).
    """
    groups: dict[str, list[Cutout]] = {}
    for c in cutouts:
        if split_of(c) == "train" and c.category not in SIGNS:
            groups.setdefault(c.subject, []).append(c)
    missing = missing_props(cutouts)
    if len(groups) < 10 * _ORDINARY or missing:
        lacking = f", and no {missing[0]}" if missing else ""
        raise EvaluationError(
            f"only {len(groups)} training subjects here{lacking}; the identity net is trained on "
            "the whole set: run `make data` and give --cutouts data/cutouts"
        )
    # A prop of that name, should a sign have been left out above, stays a subject.
    for c in cutouts:
        if c.name in (*OCCLUDERS, *THINGS):
            groups.setdefault(c.subject, [c])
    return [groups[key] for key in sorted(groups)]


def named_classes(subjects: Sequence[Sequence[Cutout]]) -> tuple[str, ...]:
    """The nouns that text-to-image is asked for: all props, and 40 ordinary one-word nouns."""
    props = (*OCCLUDERS, *THINGS)
    places = " ".join(SCENES).split()  # "a sunset in a forest" would be two answers
    ordinary = {
        group[0].name
        for group in subjects
        if group[0].category in _ORDINARY_FROM
        and group[0].name.isalpha()
        and group[0].name not in (*props, *places)
    }
    by_hash = sorted(ordinary, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return (*props, *sorted(by_hash[:_ORDINARY]))


@dataclass(frozen=True, slots=True)
class IdentityStep:
    """A moment of training: the last batch's loss and its share of subjects told right."""

    number: int
    loss: float
    right: float


def train_identity(cutouts: Path, run: IdentityRun, path: Path = WEIGHTS) -> Iterator[IdentityStep]:
    """Train on the cut-outs below ``cutouts``, telling each 25th step; at the end write ``path``.

    Raises:
        FileNotFoundError: there are no cut-outs.
        EvaluationError: they are not the whole set, or ``path`` cannot be written.
    """
    subjects = training_subjects(read_set(cutouts))
    maker = ViewMaker(subjects)
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    net = IdentityNet(len(maker.scenes), len(subjects))
    net.subjects.data.copy_(maker.portraits())
    yield from _fit(net, maker, run)
    classes = named_classes(subjects)
    row = {group[0].name: k for k, group in reversed(list(enumerate(subjects)))}
    rows = torch.tensor([row[name] for name in classes])
    record = {
        "subjects": len(subjects), "cutouts": sum(map(len, subjects)), "steps": run.steps,
        "batch": run.batch, "seed": run.seed, **_measure(net, maker, rows, run),
        "data": order_digest([c for group in subjects for c in group]),
    }  # fmt: skip
    kept = IdentityNet(len(maker.scenes), len(classes))
    state = {k: v for k, v in net.state_dict().items() if k != "subjects"}
    kept.load_state_dict({**state, "subjects": net.subjects.detach()[rows]})
    save_identity(path, kept, maker.scenes, classes, record)


def _fit(net: IdentityNet, maker: ViewMaker, run: IdentityRun) -> Iterator[IdentityStep]:
    net.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=run.peak, weight_decay=0.05)
    for step in range(1, run.steps + 1):
        rate = run.peak * min(step / run.warm_up, 0.5 * (1 + np.cos(np.pi * step / run.steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        views = maker.draw(run.batch, np.random.default_rng([run.seed, step, 30]))
        cosines, scenes = _forward(net, views.pixels)
        told = functional.cross_entropy(cosines * _SCALE, views.subject)
        loss = told + _SCENE_WEIGHT * functional.cross_entropy(scenes, views.scene)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 25 == 0 or step == run.steps:
            right = (cosines.argmax(1) == views.subject).float().mean()
            yield IdentityStep(step, float(loss.detach()), float(right))
    net.eval()


def _forward(net: IdentityNet, pixels: Tensor) -> tuple[Tensor, Tensor]:
    with mixed(torch.device("cpu")):
        features = net.features(pixels.contiguous(memory_format=torch.channels_last))
        scenes = net.scenes(features)
    return net.similarities(net.embed(features.float())), scenes.float()


@torch.inference_mode()
def _measure(
    net: IdentityNet, maker: ViewMaker, rows: Tensor, run: IdentityRun
) -> dict[str, float]:
    """Shares told right on fresh views of training subjects, all degradations included."""
    subject_right, class_right, scene_right = [], [], []
    for k in range(12):
        views = maker.draw(128, np.random.default_rng([run.seed, k, 31]))
        features = net.features(views.pixels)
        cosines = net.similarities(net.embed(features))
        subject_right.append((cosines.argmax(1) == views.subject).float())
        scene_right.append((net.scenes(features).argmax(1) == views.scene).float())
        known = torch.isin(views.subject, rows)
        class_right.append(
            (rows[cosines[known][:, rows].argmax(1)] == views.subject[known]).float()
        )
    return {
        "subject_accuracy": float(torch.cat(subject_right).mean()),
        "class_accuracy": float(torch.cat(class_right).mean()),
        "scene_accuracy": float(torch.cat(scene_right).mean()),
    }
