"""The plan's vocabulary: variants, steps and the plan itself. Frozen; nothing walks back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flows.decisions.decision import Slot
from flows.plan.frozen import many
from flows.recipe.naming import legible
from flows.sources.place import Place, StoredSource
from kontext_engine.geometry import Fit, Size
from kontext_engine.spec import ModelSpec, NumericsProfile

Operation = Literal["generate", "edit", "cutout", "judge"]
Format = Literal["png", "jpeg", "webp", "avif", "tiff"]
Chroma = Literal["4:4:4", "4:2:2", "4:2:0"]
SheetFormat = Literal["pdf", "png", "html"]
Page = Literal["a4", "a4-landscape", "letter", "letter-landscape"]
Metadata = Literal["full", "credit", "none"]


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An input picture as a step's context: read at run time, named by its bytes' SHA-256. Or
    another file that decides pixels (a model that cuts), which is ``seen`` by nobody.

    ``reading`` is the version of how its kind is read (``kontext_engine.picture``), ``size`` that
    of the upright picture, where it is known and the plan is not from a file.
    """

    input: str
    path: Place | StoredSource
    digest: str
    reading: int = 1
    size: Size | None = field(default=None, compare=False)

    @property
    def file(self) -> str:
        """The last part of its path, for people."""
        return legible(self.path.name)


@many(frozen=True, slots=True)
class ParentStep:
    """Another step's picture as a step's context."""

    key: str


ContextRef = SourceImage | ParentStep


@many(frozen=True, slots=True)
class StepParams:
    """What the engine is asked for. ``size`` ``None`` follows the first context (``match``)."""

    prompt: str
    seed: int
    steps: int
    guidance: float | None = None
    negative_prompt: str | None = None
    true_cfg: float = 1.0
    size: Size | None = None
    fit: Fit = Fit.CROP


@dataclass(frozen=True, slots=True)
class Region:
    """What an edit ``keeps`` of its first picture, or else what alone may change there.

    It is where the step's last context, a mask, is white if it is ``masked``, by ``fit`` where its
    size is another; else in ``box`` (left, top, right, bottom, in pixels); else what is opaque.
    """

    keeps: bool
    masked: bool = False
    box: tuple[int, int, int, int] | None = None
    feather: int = 0
    fit: Fit | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """The model that made a picture, where it is not the plan's by itself."""

    model: str
    digest: str


@many(frozen=True, slots=True)
class Step:
    """One picture to make, named by its key (contract 1: a step's key names its pixels).

    ``label`` is what people and ``--reroll`` call it: ``beach[product=shoe,scene=snow]``.
    Several variants may share one step: ``variants`` lists the ids of all that use it. ``geometry``
    is the version of the rules by which its sizes moved (``kontext_engine.geometry``), ``method``
    what a cutout is made by or a judge looks by, with its versions. ``made`` is there of a picture
    that a hand has picked and that the recipe, as it is now, would not make: it is in the store, or
    it is nowhere.
    """

    key: str
    name: str
    label: str
    operation: Operation
    params: StepParams
    contexts: tuple[ContextRef, ...]
    variants: tuple[str, ...]
    geometry: int = 1
    region: Region | None = None
    method: str = ""
    made: Made | None = None

    @property
    def pictures(self) -> tuple[ContextRef, ...]:
        """Its contexts without a mask and without a model."""
        masked = self.region is not None and self.region.masked
        return self.contexts[:-1] if masked else self.seen

    @property
    def seen(self) -> tuple[ContextRef, ...]:
        """Its contexts that are pictures: all but the model that it cuts with."""
        return self.contexts[:1] if self.operation == "cutout" else self.contexts

    @property
    def cutter(self) -> SourceImage | None:
        """The file of the model that it cuts with, if there is one: its last context."""
        last = self.contexts[-1] if self.operation == "cutout" else None
        return last if len(self.contexts) > 1 and isinstance(last, SourceImage) else None

    @property
    def parents(self) -> tuple[str, ...]:
        """Keys of the steps whose pictures this one reads."""
        return tuple(ref.key for ref in self.contexts if isinstance(ref, ParentStep))


@dataclass(frozen=True, slots=True)
class Shape:
    """What becomes of a picture in a file: its ``size`` by ``fit`` over ``ground``, its weight.

    ``max_kb`` are 1,000 bytes of the whole file. ``lossless`` is of WebP, ``chroma`` of JPEG and
    AVIF, which have all of it by default; ``flat``: what is transparent is put on white.
    """

    size: Size | None = None
    fit: Literal["crop", "pad", "inside", "stretch"] = "crop"
    ground: str = "white"
    max_kb: int | None = None
    lossless: bool = False
    chroma: Chroma | None = None
    flat: bool = False


AS_IT_IS = Shape()


@dataclass(frozen=True, slots=True)
class Credit:
    """What a file tells of itself: all, who and what made it, or nothing; and its ``creator``.

    ``certificate`` is the SHA-256 of the file of certificates that it is signed with, if it is.
    """

    metadata: Metadata = "full"
    creator: str = ""
    certificate: str = ""


USUAL = Credit()


@many(frozen=True, slots=True)
class PlannedOutput:
    """One file a person will find: ``path`` relative to the run's folder, from a step's picture.

    ``alpha`` is the key of the step whose transparency it has, if that is another.
    """

    key: str
    variant: str
    path: str
    format: Format
    quality: int = 95
    shape: Shape = AS_IT_IS
    alpha: str = ""
    credit: Credit = USUAL

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the steps that it is made of."""
        return (self.key, self.alpha) if self.alpha else (self.key,)


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a contact sheet: its step's key, and what stands below."""

    key: str
    caption: str


@dataclass(frozen=True, slots=True)
class PlannedSheet:
    """A contact sheet: ``path`` relative to the run's folder, its tiles in their order.

    ``font`` is a file of one's own. ``missing`` is what a frame without a picture means: it is
    marked, or there is no sheet. HTML is not signed: its ``credit`` has no certificate.
    """

    path: str
    format: SheetFormat
    heading: str
    tiles: tuple[Tile, ...]
    columns: int = 4
    page: Page = "a4-landscape"
    missing: Literal["mark", "fail"] = "mark"
    font: SourceImage | None = None
    credit: Credit = USUAL


@dataclass(frozen=True, slots=True)
class PlannedVariant:
    """One row of the matrix: its id, its axis values as text, its steps in recipe order.

    ``details`` are the variables of its values, a table's columns among them, as ``axis.variable``.
    """

    id: str
    values: Mapping[str, str]
    keys: tuple[str, ...]  # of every planned step, in recipe order, one for each of its takes
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that a pick chooses among: its label, and its key."""

    label: str
    key: str


@dataclass(frozen=True, slots=True)
class Pick:
    """A pick in one variant, or in several that agree.

    ``judge`` is who judges, with all that decides what is said, or nobody; ``judged`` are the keys
    of the steps that judge, in the order of those candidates that are judged. ``chosen`` is the key
    of what was picked, ``by`` who did.
    """

    label: str
    slot: Slot
    candidates: tuple[Candidate, ...]
    judge: str = ""
    judged: tuple[str, ...] = ()
    chosen: str | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that has no key yet: the labels of undecided ``picks`` above it, and the keyed steps
    that it ``needs``.
    """

    picks: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps of a recipe, keyed before any model loads; ``steps`` is in topological order.

    ``labels`` maps every step's label to its key: two labels share one where the pixels would be
    the same. ``sets`` are the ``name=value`` pairs that changed the recipe, ``only`` the
    selectors that narrowed it; ``warnings`` are for people. ``picks`` and ``waiting`` are by label:
    what waits for an undecided pick, the pick itself among them, has no key and is no step.
    ``numbers`` are the newest of what hands had decided, by the digests of slots;
    ``depends`` has for steps, by their ids, what they depend on and was set to other than usual.
    """

    recipe: str
    recipe_path: Path
    recipe_text: str
    model: ModelSpec
    numerics: NumericsProfile
    steps: Mapping[str, Step]
    variants: tuple[PlannedVariant, ...]
    outputs: tuple[PlannedOutput, ...]
    digest: str  # SHA-256 over the keys and outputs; names the run
    labels: Mapping[str, str] = field(default_factory=dict)
    sets: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    sheets: tuple[PlannedSheet, ...] = ()
    picks: Mapping[str, Pick] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    project: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    depends: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
