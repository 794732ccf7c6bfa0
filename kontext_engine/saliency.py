"""A picture's subject found by an ONNX model of saliency or matting that the user names.

Torch-free; numpy and onnxruntime, which comes with the extra ``cutout``, are loaded at the first
cut only.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from kontext_engine.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RUNTIME = "onnxruntime"
KIND = "onnx"
EDGE = 1024  # pixels a side where the model takes any size
_VERSION = 1  # of what is done here
_LOADED = 2  # models held at once
_TOLERANCE = 1e-3  # beyond 0 and 1: more is no rounding, so values are logits
_METHOD = re.compile(r"onnx \d+, model ([0-9a-f]{64}), mean (\S+), std (\S+), ")

Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Saliency:
    """A model by the SHA-256 of its file, and how it wants its input: (value - mean) / std of 0..1.

    Its file is not part of it: whoever cuts names one, which must have that digest.
    """

    digest: str
    mean: Three
    std: Three

    def method(self, version: str) -> str:
        """What cuts are made by, with onnxruntime's version: part of a cut's key."""
        mean, std = (",".join(f"{value:g}" for value in three) for three in (self.mean, self.std))
        return (
            f"{KIND} {_VERSION}, model {self.digest}, mean {mean}, std {std}, {RUNTIME} {version}"
        )

    @classmethod
    def of(cls, method: str) -> Saliency | None:
        """What a method says of its model; ``None`` of one without."""
        found = _METHOD.match(method)
        if found is None:
            return None
        mean, std = (tuple(map(float, text.split(","))) for text in found.groups()[1:])
        return cls(found[1], mean, std)  # type: ignore[arg-type]

    def load(self, file: str) -> None:
        """Make sure that ``file`` is that model, and one of pictures to masks.

        Raises:
            RequestError: it is not, or there is nothing to load it with.
        """
        _loaded(file, self.digest)

    def mask(self, picture: Image.Image, file: str) -> Image.Image:
        """The subject of a picture: mode L, of its size, 255 where it is wholly.

        Raises:
            RequestError: ``file`` is not that model, or not one of pictures to masks.
        """
        import numpy as np

        model = _loaded(file, self.digest)
        height, width = model.size
        small = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        unit = np.asarray(small, np.float32) / np.float32(255)
        shown = (unit - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        levels = model.run(np.ascontiguousarray(shown.transpose(2, 0, 1)[None]))
        whole = Image.fromarray(levels).resize(picture.size, Image.Resampling.BILINEAR)
        return Image.fromarray((np.clip(np.asarray(whole), 0, 1) * 255 + 0.5).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class _Model:
    session: Any
    name: str
    input: str
    output: str
    size: tuple[int, int]  # height, width

    def run(self, shown: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1, 3, h, w) to the share of the subject (h, w), 0 to 1."""
        import numpy as np

        try:
            (found,) = self.session.run([self.output], {self.input: shown})
        except Exception as error:  # a graph of anybody's may fail in any way
            raise RequestError(f"{self.name}: cannot be computed ({_line(error)})") from error
        levels: NDArray[np.float32] = np.squeeze(np.asarray(found, np.float32))
        if levels.ndim != 2 or not np.isfinite(levels).all():
            raise RequestError(
                f"{self.name}: gave an output of shape {np.shape(found)}; expected finite numbers "
                "(1, 1, height, width); name a model of saliency or matting"
            )
        if levels.min() < -_TOLERANCE or levels.max() > 1 + _TOLERANCE:
            levels = (1 / (1 + np.exp(-np.clip(levels, -60, 60)))).astype(np.float32)
        return np.ascontiguousarray(levels, np.float32)


@functools.lru_cache(maxsize=_LOADED)
def _loaded(file: str, digest: str) -> _Model:
    name = Path(file).name
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise RequestError(
            f"{name}: cannot be read ({error.strerror}); put it back, then run again"
        ) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise RequestError(f"{name}: is another model than it was planned with; plan again")
    try:
        import onnxruntime
    except ImportError as error:
        raise RequestError(
            f"cutouts by a model need {RUNTIME}, which is not installed; install "
            "kontext-pipeline[cutout]"
        ) from error
    options = onnxruntime.SessionOptions()
    # One thread, so that the same cut comes again; nothing but what was digested is read.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", "/nonexistent"
    )
    try:
        session = onnxruntime.InferenceSession(
            data, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # of untrusted data
        raise RequestError(
            f"{name}: cannot be loaded as ONNX ({_line(error)}); expected one file with its "
            "weights inside; export the model again, or name another"
        ) from error
    return _checked(session, name)


def _checked(session: Any, name: str) -> _Model:
    """A session whose shapes are those of pictures in and a mask out."""
    inputs, outputs = session.get_inputs(), session.get_outputs()[:1]
    shape = _shape(inputs[0]) if len(inputs) == 1 else ()
    if len(shape) != 4 or shape[0] not in (1, None) or shape[1] != 3:
        raise RequestError(
            f"{name}: takes {_told(inputs)}; expected one picture, tensor(float) [1, 3, height, "
            "width]; name a model of saliency or matting"
        )
    made = _shape(outputs[0]) if outputs else ()
    if len(made) not in (2, 3, 4) or any(side not in (1, None) for side in made[:-2]):
        raise RequestError(
            f"{name}: gives {_told(outputs)}; expected a mask, tensor(float) [1, 1, height, "
            "width]; name a model of saliency or matting"
        )
    size = shape[2] or EDGE, shape[3] or EDGE
    return _Model(session, name, inputs[0].name, outputs[0].name, size)


def _shape(end: Any) -> tuple[int | None, ...]:
    """Of an input or output of numbers, its sides, free ones ``None``; of any other, none."""
    if end.type != "tensor(float)":
        return ()
    return tuple(side if isinstance(side, int) else None for side in end.shape)


def _told(ends: Sequence[Any]) -> str:
    return ", ".join(f"{one.name} {one.type} {one.shape}" for one in ends) or "nothing"


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
