"""Cut-outs: RGBA pictures of one subject each, their names, and the split by subject.

The set is the Fluent Emoji 3D renders (MIT, Microsoft), fetched by ``make data``. Skin-tone
variants of one emoji are one *subject*: a subject is either trained on or held out, never both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kontext_engine.training.errors import TrainingError

Split = Literal["train", "held_out"]

DRAWN = ("flat", "ink")  # the set's other styles: folders beside ``assets``
EDGE = 128  # pixels: a subject is never shown larger than the miniature's picture
HELD_OUT_SHARE = 0.118  # of subjects; 350 cut-outs that are not signs
# SHA-256 over who is held out, in order: other questions would be another bench.
HELD_OUT_DIGEST = "8cde07dfa439007bce5ca32d6fb8b171c24511c8ea398ef238d934eb9da6d1a0"
SIGNS = ("Symbols", "Flags")  # trained on for variety, but no subject anybody would photograph

# Named in instructions, so their words must be learned: never held out.
OCCLUDERS = (
    "balloon", "soccer-ball", "pizza", "maple-leaf", "sunflower", "rose", "snowflake", "star",
    "red-heart", "green-book", "wrapped-gift", "red-apple", "basketball", "umbrella", "cloud",
    "cookie", "doughnut", "leaf-fluttering-in-wind", "hibiscus", "butterfly",
)  # fmt: skip
THINGS = (
    "cactus", "cat", "dog", "evergreen-tree", "mushroom", "potted-plant", "penguin", "teddy-bear",
    "crown", "jack-o-lantern", "hot-beverage", "birthday-cake", "bicycle", "chair", "rocket",
    "duck", "trophy", "candle", "pineapple", "rabbit",
)  # fmt: skip
# Expressions that any of the faces may be asked to have; named, so trained on as well.
FACES = (
    "grinning-face", "crying-face", "angry-face", "sleeping-face", "neutral-face", "smiling-face",
    "face-with-tongue", "face-with-open-mouth", "smiling-face-with-sunglasses", "star-struck",
)  # fmt: skip

TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")
_TONE_WORDS = ("-medium-dark", "-medium-light", "-light", "-medium", "-dark")


@dataclass(frozen=True, slots=True)
class Cutout:
    """One RGBA picture: ``code`` its code points, ``subject`` those without skin tone."""

    code: str
    name: str
    subject: str
    category: str
    path: Path

    def drawn(self, style: str) -> Cutout:
        """The drawing of the same subject in one of the set's other styles."""
        return replace(self, path=self.path.parent.parent / style / self.path.name)

    @property
    def is_face(self) -> bool:
        """Whether it is one of the round faces, which differ in their expression alone."""
        return self.category == "Smileys & Emotion" and "face" in self.name.split("-")

    @property
    def noun(self) -> str:
        """The name as words: ``running-shoe`` is ``running shoe``."""
        return self.name.replace("-", " ")


def plain_code(code: str) -> str:
    """Code points without the variation selector, which some lists write and others leave out."""
    return "-".join(part for part in code.split("-") if part != "fe0f")


def _rank(subject: str) -> float:
    return int(hashlib.sha256(subject.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def _base_name(name: str) -> str:
    for word in _TONE_WORDS:
        if name.endswith(word):
            return name.removesuffix(word)
    return name


def read_set(root: Path) -> list[Cutout]:
    """All named cut-outs below ``root`` (laid out by ``make data``), in order of code.

    Raises:
        FileNotFoundError: the set is not there; the message names the command that fetches it.
        TrainingError: its listing is damaged.
    """
    names_file, assets = root / "names.json", root / "assets"
    if not names_file.is_file() or not assets.is_dir():
        raise FileNotFoundError(
            f"{root}: no cut-outs here; expected names.json and assets/; "
            "run `make data` (needs npm, 18 MB)"
        )
    try:
        listing = json.loads(names_file.read_text("utf-8"))
        names = {plain_code(code): str(name) for code, name in listing["chars"].items()}
        category_of = {n: c for c, members in listing["categories"].items() for n in members}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{names_file}: damaged ({type(error).__name__}: {error}); expected the names and "
            "categories of the cut-outs; fetch the set again with `make data`"
        ) from error
    found = []
    for path in sorted(assets.glob("*.webp")):
        code = plain_code(path.stem)
        if code not in names:
            continue  # country flags and regional letters have no name in the list
        subject = "-".join(part for part in code.split("-") if part not in TONES)
        name = names[code]
        found.append(Cutout(code, _base_name(name), subject, category_of.get(name, "?"), path))
    return found


def split_of(cutout: Cutout) -> Split:
    """Which side of the split a cut-out's subject lies on; a pure function of its code points."""
    if cutout.name in OCCLUDERS or cutout.name in THINGS:
        return "train"
    return "held_out" if _rank(cutout.subject) < HELD_OUT_SHARE else "train"


def missing_props(cutouts: Sequence[Cutout]) -> list[str]:
    """The names of occluders and things that instructions ask for and this set lacks."""
    return sorted({*OCCLUDERS, *THINGS} - {c.name for c in cutouts})


def held_out_order(cutouts: list[Cutout]) -> list[Cutout]:
    """Held-out cut-outs, one of each subject first, by hash: the fixed order of every bench."""
    subjects = (c for c in cutouts if split_of(c) == "held_out" and c.category not in SIGNS)
    rows = sorted(subjects, key=lambda c: (_rank(c.subject), c.code))
    seen: set[str] = set()
    first = [c for c in rows if not (c.subject in seen or seen.add(c.subject))]  # type: ignore[func-returns-value]
    chosen = {c.code for c in first}
    return first + [c for c in rows if c.code not in chosen]


def order_digest(order: Sequence[Cutout]) -> str:
    """SHA-256 over code, name, subject and category of these cut-outs, in their order."""
    listing = "\n".join(f"{c.code} {c.name} {c.subject} {c.category}" for c in order)
    return hashlib.sha256(listing.encode()).hexdigest()


def pixels(cutout: Cutout, edge: int = EDGE) -> NDArray[np.uint8]:
    """The cut-out trimmed to its opaque box, its longer side ``edge`` pixels: uint8 (h, w, 4).

    Raises:
        TrainingError: it is not a readable picture.
    """
    try:
        with Image.open(cutout.path) as picture:
            rgba = picture.convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:
        raise TrainingError(
            f"{cutout.path}: not a readable picture ({error}); fetch the set again with `make data`"
        ) from error
    box = rgba.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    rgba = rgba.crop(box) if box else rgba
    scale = edge / max(rgba.size)
    size = (max(1, round(rgba.width * scale)), max(1, round(rgba.height * scale)))
    return np.asarray(rgba.resize(size, Image.Resampling.LANCZOS))
