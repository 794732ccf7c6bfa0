"""A picture's subject cut out: of a plain ground by OpenCV's GrabCut, or by a model of the user's.

Torch-free. numpy and OpenCV are loaded at the first cut only; OpenCV comes with the extra
``cutout``, as onnxruntime does, which models need (``kontext_engine.saliency``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING

from PIL import Image

from kontext_engine.errors import ModelError, RequestError
from kontext_engine.geometry import GeometryRecord, Size
from kontext_engine.picture import picture_digest
from kontext_engine.saliency import RUNTIME, Saliency

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kontext_engine.api import EditFailure, EditRequest, EditResult

PACKAGE = "opencv-python-headless"
_AREA = 640 * 640  # pixels that a cut is found at; more are slow, and grounds are plain
_GROUND = 24  # levels within which a colour is the ground's
_RIM = 0.02  # of the shorter side is ground at each edge
_ROUNDS = 5
_NONE = "no subject was found"
_VERSION = 1  # of what is done here


def cutout_libraries() -> Mapping[str, str]:
    """The versions of the libraries that cuts are made with, as far as they are here."""
    found: dict[str, str] = {}
    for name in (PACKAGE, RUNTIME):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def cutout_method(libraries: Mapping[str, str], model: Saliency | None = None) -> str:
    """What cuts are made by with these libraries, by their versions: part of a cut's key.

    Raises:
        ModelError: one is not installed.
    """
    needed = RUNTIME if model else PACKAGE
    version = libraries.get(needed)
    if version is None:
        raise ModelError(
            f"cutouts{' by a model' if model else ''} need {needed}, which is not installed; "
            "install kontext-pipeline[cutout], the same wherever they are made"
        )
    return model.method(version) if model else f"grabcut {_VERSION}, {PACKAGE} {version}"


def answer_cutout(request: EditRequest) -> EditResult | EditFailure:
    """What an engine answers to a request for a cutout."""
    from kontext_engine.api import EditFailure, EditResult

    began = time.perf_counter()
    picture = request.contexts[0]
    try:
        mask = cut_out(picture, request.cutout, request.cutter)
    except (ModelError, RequestError) as error:
        return EditFailure(request.id, str(error))
    size = Size(*picture.size)
    return EditResult(request.id, mask, GeometryRecord(size, size), time.perf_counter() - began)


def cut_out(picture: Image.Image, method: str, file: str = "") -> Image.Image:
    """The mask of a picture's subject: mode L, of its size, 255 where it is.

    Without a model (its ``file``) the ground is what the picture's rim is made of. The same picture
    and method give the same mask, whatever was cut before.

    Raises:
        RequestError: cuts are made by something else here, or there is no subject to be found.
        ModelError: what they are made with is not installed.
    """
    import numpy as np

    model = Saliency.of(method)
    here = cutout_method(cutout_libraries(), model)
    if here != method:
        raise RequestError(
            f"this cutout was planned with {method}, and here is {here}; expected the same "
            "everywhere; install it, or plan again"
        )
    if model is not None:
        mask = model.mask(picture, file)
        if not mask.getbbox():
            raise RequestError(f"{_NONE}; expected one that the model knows; give a mask instead")
        return mask
    scale = min(1.0, (_AREA / (picture.width * picture.height)) ** 0.5)
    size = max(8, round(picture.width * scale)), max(8, round(picture.height * scale))
    small = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BOX))
    subject = _grab(small, int(picture_digest(picture)[:7], 16))
    if not subject.any() or subject.all():
        raise RequestError(
            f"{_NONE} on a plain ground; expected one that differs from the picture's rim; give a "
            "mask instead"
        )
    mask = Image.fromarray(subject.astype(np.uint8) * 255)
    if mask.size == picture.size:
        return mask
    return mask.resize(picture.size, Image.Resampling.BILINEAR)


def _grab(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.bool_]:
    import cv2
    import numpy as np

    height, width, _ = pixels.shape
    rim = max(1, round(min(width, height) * _RIM))
    edge = np.ones((height, width), bool)
    edge[rim:-rim, rim:-rim] = False
    ground = np.median(pixels[edge], axis=0)
    alike = np.abs(pixels - ground).max(axis=-1) <= _GROUND
    guess = np.where(alike, cv2.GC_PR_BGD, cv2.GC_PR_FGD).astype(np.uint8)
    guess[edge] = cv2.GC_BGD
    if not (guess == cv2.GC_PR_FGD).any():
        return np.zeros((height, width), bool)
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    cv2.setRNGSeed(seed)
    try:
        colours, mode = np.ascontiguousarray(pixels[..., ::-1]), cv2.GC_INIT_WITH_MASK
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(colours, guess, (0, 0, 1, 1), *models, _ROUNDS, mode)
    finally:
        cv2.setNumThreads(before)
    found: NDArray[np.bool_] = (guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)
    return found
