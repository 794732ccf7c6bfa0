import numpy as np
import pytest
import torch
from torch.nn import functional

from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.evaluation.identity.net import WEIGHTS, Identity, IdentityNet, save_identity
from kontext_engine.evaluation.identity.retrieval import measure_retrieval
from kontext_engine.evaluation.identity.training import (
    IdentityRun,
    _fit,
    _forward,
    named_classes,
    train_identity,
    training_subjects,
)
from kontext_engine.evaluation.identity.views import ViewMaker
from kontext_engine.training.cutouts import OCCLUDERS, THINGS, Cutout, split_of
from kontext_engine.training.scenes import SCENES
from tests.evaluation.conftest import CUTOUTS
from tests.evaluation.oracles import SIZE


@pytest.fixture(scope="module")
def maker(cast, cutouts):
    """Views of a few shipped cut-outs: the trainer itself wants the whole set."""
    props = [[c] for c in cutouts if c.name in (*OCCLUDERS[:4], *THINGS[:4])]
    return ViewMaker([[c] for c in cast.subjects[:4]] + props)


@pytest.fixture(scope="module")
def shipped():
    return Identity.load()


def test_the_shipped_net_is_small_and_says_what_it_was_trained_on(shipped):
    assert WEIGHTS.stat().st_size < 1_000_000
    assert shipped.scenes == tuple(SCENES)
    assert set(shipped.classes) > {*OCCLUDERS, *THINGS}
    assert len(shipped.classes) == 80
    assert shipped.record["subjects"] > 1000


def test_the_shipped_net_finds_held_out_subjects_on_other_scenes(shipped, cast):
    found = measure_retrieval(shipped, cast, SIZE, 80)
    assert found.accuracy > 0.7  # chance is 1/80
    assert found.same_median > found.stranger_95


def test_a_cosine_is_that_of_unit_vectors(shipped):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    vectors = shipped.embed(pictures)
    assert np.allclose((vectors**2).sum(1), 1.0, atol=1e-5)
    assert np.allclose(shipped.embed(pictures[1:2]), vectors[1:2], atol=1e-5)


def test_what_is_saved_is_what_is_loaded(tmp_path, untrained):
    path = tmp_path / "net.safetensors"
    save_identity(path, untrained.net, untrained.scenes, untrained.classes, {"steps": 3})
    again = Identity.load(path)
    assert (again.scenes, again.classes, again.record) == (
        untrained.scenes, untrained.classes, {"steps": 3},
    )  # fmt: skip
    pictures = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    assert np.allclose(
        again.embed(pictures), untrained.embed(pictures), atol=0.01
    )  # half precision
    assert again.subject_of(pictures)[0] in untrained.classes
    assert again.scene_of(pictures)[0] in SCENES


def test_views_are_a_function_of_the_generator(maker):
    one, same = (maker.draw(6, np.random.default_rng(5)) for _ in range(2))
    other = maker.draw(6, np.random.default_rng(6))
    assert torch.equal(one.pixels, same.pixels)
    assert torch.equal(one.subject, same.subject)
    assert not torch.equal(one.pixels, other.pixels)
    assert one.pixels.shape == (6, 3, 32, 32)
    assert one.pixels.abs().max() <= 1


def test_portraits_tell_subjects_apart(maker):
    portraits = maker.portraits()
    assert torch.allclose(portraits.norm(dim=1), torch.ones(len(portraits)), atol=1e-5)
    cosines = portraits @ portraits.T
    cosines.fill_diagonal_(0)
    assert cosines.max() < 0.9


def test_training_lowers_the_loss(maker):
    torch.manual_seed(0)
    net = IdentityNet(len(SCENES), len(maker.portraits()))
    net.subjects.data.copy_(maker.portraits())
    shown = maker.draw(48, np.random.default_rng(99))

    def loss():
        with torch.inference_mode():
            cosines, _ = _forward(net, shown.pixels)
        return functional.cross_entropy(cosines * 16, shown.subject)

    before = loss()
    (told,) = _fit(net, maker, IdentityRun(steps=24, batch=16, warm_up=4))
    assert told.number == 24
    assert loss() < before - 0.1


def test_held_out_subjects_are_never_trained_on(cutouts, tmp_path):
    with pytest.raises(EvaluationError, match="trained on the whole set: run `make data`"):
        train_identity_all(tmp_path)
    props = [c for c in cutouts if split_of(c) == "train"]
    assert named_classes([[c] for c in props]) == (*OCCLUDERS, *THINGS)
    with pytest.raises(EvaluationError):
        training_subjects(cutouts)
    crowd = [Cutout(f"{k:x}", f"thing-{k}", f"{k:x}", "Objects", CUTOUTS) for k in range(1000)]
    assert sum(split_of(c) == "held_out" for c in crowd) > 50
    chosen = [c for group in training_subjects([*crowd, *cutouts]) for c in group]
    lacking = [c for c in [*crowd, *cutouts] if c.name != "cactus"]
    with pytest.raises(EvaluationError, match="training subjects here, and no cactus; "):
        training_subjects(lacking)
    assert {split_of(c) for c in chosen} == {"train"}
    assert len(chosen) == sum(split_of(c) == "train" for c in [*crowd, *cutouts])


def test_a_net_that_cannot_be_written_is_one_line(tmp_path, untrained):
    target = tmp_path / "none" / "net.safetensors"
    with pytest.raises(EvaluationError, match=r"net\.safetensors: cannot be written"):
        save_identity(target, untrained.net, untrained.scenes, untrained.classes, {})
    assert list(tmp_path.iterdir()) == []


def train_identity_all(folder):
    return list(train_identity(CUTOUTS, IdentityRun(steps=1), folder / "net.safetensors"))
