"""What an output asks of its file: format, size, weight, transparency, and what it tells."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from PIL import ImageColor

from flows.plan.step import Credit, Format, Metadata, Shape
from flows.problems import unknown_name
from flows.recipe.graph import StepNode
from flows.recipe.handout import OutputSpec
from flows.recipe.node import Loc
from flows.recipe.review import Review
from flows.settings import Settings

DEFAULT_QUALITY = 95
BLUR = "blur"  # the picture itself as its ground
EXTENSIONS: Mapping[Format, str] = {
    "png": "png", "jpeg": "jpg", "webp": "webp", "avif": "avif", "tiff": "tif",
}  # fmt: skip

_FORMATS: Mapping[str, Format] = {
    "png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp", "avif": "avif", "tif": "tiff",
    "tiff": "tiff",
}  # fmt: skip
_EXTENSION = re.compile(
    r"(gif|bmp|hei[cf]|jxl|jp2|tga|ppm|psd|pdf|svg|raw|jp[e2]?)\Z", re.IGNORECASE
)
_LOSSY = ("jpeg", "webp", "avif")
_EITHER = ("webp",)  # of avif this encoder comes near at best: it takes colours to YCbCr
_CHROMA = ("jpeg", "avif")


def split_format(review: Review, loc: Loc, name: str, spec: OutputSpec) -> tuple[str, Format]:
    """The name without its extension, and the format that one of them says."""
    stem, dot, extension = name.rpartition(".")
    said = _FORMATS.get(extension.lower()) if dot and stem else None
    if said is not None and spec.format is not None and said != spec.format:
        text = (
            f"the name ends in '.{extension}' but the format is '{spec.format}'; expected one of "
            "them to decide; remove the other"
        )
        review.wrong((*loc, "format"), text)
    kind = spec.format or said or "png"
    if dot and said is None and _EXTENSION.match(extension):
        text = f"'.{extension}' is no format of outputs: the file ends in '.{EXTENSIONS[kind]}'"
        review.note((*loc, "name"), f"{text} after it; write '.{EXTENSIONS[kind]}' or add 'format'")
    return (stem if said is not None else name), kind


def shape_and_quality(
    review: Review, loc: Loc, spec: OutputSpec, kind: Format
) -> tuple[Shape, int]:
    """What becomes of the picture in the file; mistakes are noted."""
    for field, formats in (
        ("quality", _LOSSY), ("max_kb", _LOSSY), ("lossless", _EITHER), ("chroma", _CHROMA)
    ):  # fmt: skip
        if getattr(spec, field) is not None and kind not in formats:
            text = f"'{field}' has no effect on {kind}; expected {_or(formats)}; remove it or add "
            review.wrong((*loc, field), f"{text}a 'format'", key=True)
    for field in ("quality", "max_kb", "chroma"):
        if spec.lossless and getattr(spec, field) is not None:
            text = f"'{field}' has no effect on a lossless file; expected one of them; remove one"
            review.wrong((*loc, field), text, key=True)
    for field, needs in (("fit", "size"), ("ground", "fit")):
        if getattr(spec, field) is not None and getattr(spec, needs) is None:
            text = f"'{field}' has no effect without '{needs}'; expected both; add '{needs}: ...'"
            review.wrong((*loc, field), text, key=True)
    if spec.ground is not None and spec.fit not in (None, "pad"):
        text = f"'ground' has no effect with fit '{spec.fit}'; expected 'fit: pad'; remove it"
        review.wrong((*loc, "ground"), text, key=True)
    if spec.ground not in (None, BLUR):
        _check_colour(review, loc, str(spec.ground))
    shape = Shape(
        spec.size,
        spec.fit or "crop",
        spec.ground or "white",
        spec.max_kb,
        lossless=bool(spec.lossless),
        chroma=None if spec.chroma == "4:4:4" else spec.chroma,
        flat=spec.alpha is False and kind != "jpeg",
    )
    return shape, spec.quality or DEFAULT_QUALITY


def is_step(review: Review, loc: Loc, name: str, where: str) -> bool:
    """Whether the recipe has such a step; that it has none is noted."""
    found = name in review.recipe.document.steps
    if not found:
        text = unknown_name("step", name, where, review.recipe.named_steps, "steps")
        review.wrong(loc, text)
    return found


def alpha_of(
    review: Review, loc: Loc, spec: OutputSpec, kind: Format, nodes: Mapping[str, StepNode] | None
) -> str | None:
    """The step whose transparency the file has, if it is named; mistakes are noted.

    Without ``nodes``, because steps are wrong, nothing is said of their takes.
    """
    if spec.alpha and kind == "jpeg":
        text = "'alpha' has no effect on jpeg, which has none; expected png, webp, avif or tiff; "
        review.wrong((*loc, "alpha"), f"{text}remove it or write another 'format'", key=True)
    if not isinstance(spec.alpha, str) or spec.alpha == spec.step:
        return None
    if not is_step(review, (*loc, "alpha"), spec.alpha, "alpha"):
        return None
    if nodes is None:
        return spec.alpha
    takes = nodes[spec.alpha].takes
    if takes not in (1, nodes[spec.step].takes):
        text = (
            f"'{spec.alpha}' has {takes} takes and '{spec.step}' {nodes[spec.step].takes}; "
            "expected one, or as many; name another step"
        )
        review.wrong((*loc, "alpha"), text)
    return spec.alpha


def credit_of(review: Review, metadata: Metadata | None) -> Credit:
    """What a file tells of itself, by what is asked of it and the settings; mistakes are noted."""
    try:
        return credit(review.settings, metadata)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        text = (
            f"the setting delivery.certificate, '{review.settings.delivery.certificate}', cannot "
            f"be read ({reason}); expected a PEM file; mend the setting"
        )
        review.wrong(("outputs",), text)
        return Credit()


def credit(settings: Settings, metadata: Metadata | None = None) -> Credit:
    """What files tell by the settings; ``metadata`` is what one of them says itself.

    Raises:
        OSError: the certificate cannot be read.
    """
    said = settings.delivery
    level = metadata or said.metadata
    if level == "none":
        return Credit("none")
    digest = ""
    if said.certificate is not None:
        digest = hashlib.sha256(said.certificate.read_bytes()).hexdigest()
    return Credit(level, said.creator, digest)


def _check_colour(review: Review, loc: Loc, ground: str) -> None:
    try:
        ImageColor.getrgb(ground)
    except ValueError:
        text = (
            f"'{ground}' is no colour; expected one like white or '#f4f2ee', or 'blur'; write one"
        )
        review.wrong((*loc, "ground"), text)


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
