"""The identity net: a picture to a unit vector that tells its subject, and two readings of it.

About 0.44 M parameters, shipped in half precision. Trained by ``identity.training`` on training
subjects only; whether it tells *held-out* subjects apart is measured anew in every bench
(``identity.retrieval``), and its figures are worth what that measurement says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from kontext_engine.codec import from_levels
from kontext_engine.evaluation.errors import EvaluationError

EDGE = 32  # pixels: what the net sees, whatever the picture's size
WIDTH = 64  # of the embedding
WEIGHTS = Path(__file__).parent / "studio-identity.safetensors"
_FEATURES = 128 + 24 * 4 * 4
_AT_ONCE = 256  # pictures through the net: bounds memory, not results

Pictures = NDArray[np.uint8]  # (n, h, w, 3)
Vectors = NDArray[np.float32]  # (n, width)


def _block(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.SiLU(),
    )


class IdentityNet(nn.Module):
    """Pixels (b, 3, 32, 32) in -1..1 to features (b, 512), read by three linear heads.

    ``subjects`` are the unit prototypes that the embedding was trained against, one for each
    named class; nearness to them is the text-to-image classifier.
    """

    def __init__(self, scenes: int, subjects: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _block(3, 32, 2), _block(32, 64, 2), _block(64, 64, 1), _block(64, 128, 2),
            _block(128, 128, 1), _block(128, 128, 1),
        )  # fmt: skip
        self.layout = nn.Conv2d(128, 24, 1)
        self.embedding = nn.Linear(_FEATURES, WIDTH)
        self.scenes = nn.Linear(_FEATURES, scenes)
        self.subjects = nn.Parameter(torch.randn(subjects, WIDTH) * WIDTH**-0.5)

    def features(self, pixels: Tensor) -> Tensor:
        """What is on the picture anywhere (its mean), and what is where on a 4x4 grid: (b, 512)."""
        maps = self.trunk(pixels)
        return torch.cat([maps.mean((2, 3)), self.layout(maps).flatten(1)], dim=1)

    def embed(self, features: Tensor) -> Tensor:
        """Unit vectors (b, 64)."""
        vectors: Tensor = functional.normalize(self.embedding(features).float(), dim=1)
        return vectors

    def similarities(self, vectors: Tensor) -> Tensor:
        """Cosines (b, subjects) of unit vectors to the prototypes."""
        return vectors @ functional.normalize(self.subjects.float(), dim=1).T


@dataclass(frozen=True, slots=True)
class Identity:
    """A trained net with what its heads are called; numpy in, numpy out, on the CPU.

    ``record`` is what the trainer noted (figures on training subjects, steps, data digest).
    """

    net: IdentityNet
    scenes: tuple[str, ...]
    classes: tuple[str, ...]
    record: Mapping[str, Any]
    digest: str

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Identity:
        """Read what ``save_identity`` wrote.

        Raises:
            EvaluationError: the file is missing or is not such a file.
        """
        remedy = "make it with `kontext eval identity` (needs `make data`)"
        if not path.is_file():
            raise EvaluationError(f"{path}: the identity net is not there; {remedy}")
        try:
            with safe_open(path, framework="pt") as stored:
                labels = stored.metadata() or {}
                scenes = tuple(json.loads(labels["scenes"]))
                classes = tuple(json.loads(labels["classes"]))
                net = IdentityNet(len(scenes), len(classes))
                net.load_state_dict({k: stored.get_tensor(k) for k in stored.keys()})  # noqa: SIM118 - not a mapping
                record = json.loads(labels["record"])
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise EvaluationError(f"{path}: not an identity net ({reason}); {remedy}") from error
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(net.float().eval().requires_grad_(False), scenes, classes, record, digest)

    def embed(self, pictures: Pictures) -> Vectors:
        """Unit vectors, (n, 64); a dot product of two is the cosine of their likeness."""
        return self._read(pictures, self.net.embed)

    def scene_of(self, pictures: Pictures) -> list[str]:
        """The likeliest scene of each picture."""
        scores = self._read(pictures, self.net.scenes)
        return [self.scenes[int(k)] for k in scores.argmax(1)]

    def subject_of(self, pictures: Pictures) -> list[str]:
        """The likeliest of the named classes for each picture's subject."""
        scores = self._read(pictures, lambda f: self.net.similarities(self.net.embed(f)))
        return [self.classes[int(k)] for k in scores.argmax(1)]

    @torch.inference_mode()
    def _read(self, pictures: Pictures, head: Any) -> Vectors:
        parts = [pictures[k : k + _AT_ONCE] for k in range(0, len(pictures), _AT_ONCE)]
        read = [head(self.net.features(as_input(part))).numpy() for part in parts]
        return np.concatenate(read).astype(np.float32)


def as_input(pictures: Pictures) -> Tensor:
    """uint8 (n, h, w, 3) as float32 (n, 3, 32, 32) in -1..1, averaged down."""
    small = [
        np.asarray(Image.fromarray(p).resize((EDGE, EDGE), Image.Resampling.BOX)) for p in pictures
    ]
    return from_levels(np.stack(small))


def save_identity(
    path: Path,
    net: IdentityNet,
    scenes: Sequence[str],
    classes: Sequence[str],
    record: Mapping[str, Any],
) -> None:
    """Write the net in half precision with its labels, atomically.

    Raises:
        EvaluationError: ``path`` cannot be written; what was there is untouched.
    """
    tensors = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in net.state_dict().items()
    }
    labels = {
        "scenes": json.dumps(list(scenes)),
        "classes": json.dumps(list(classes)),
        "record": json.dumps(dict(record)),
    }
    draft = path.with_name(f".{path.name}.draft")
    try:
        save_file(tensors, draft, metadata=labels)
        draft.chmod(0o644)  # the library makes it private
        draft.replace(path)
    except (SafetensorError, OSError) as error:
        raise EvaluationError(f"{path}: cannot be written ({error})") from error
    finally:
        draft.unlink(missing_ok=True)
