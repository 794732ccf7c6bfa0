"""The plan's vocabulary: variants, steps and the plan itself. Frozen; nothing walks back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flows.recipe.naming import legible
from flows.sources.place import Place, StoredSource
from kontext_engine.geometry import Fit, Size
from kontext_engine.spec import ModelSpec, NumericsProfile

Operation = Literal["generate", "edit", "cutout"]


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


@dataclass(frozen=True, slots=True)
class ParentStep:
    """Another step's picture as a step's context."""

    key: str


ContextRef = SourceImage | ParentStep


@dataclass(frozen=True, slots=True)
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
class Step:
    """One picture to make, named by its key (contract 1: a step's key names its pixels).

    ``label`` is what people and ``--reroll`` call it: ``beach[product=shoe,scene=snow]``.
    Several variants may share one step: ``variants`` lists the ids of all that use it. ``geometry``
    is the version of the rules by which its sizes moved (``kontext_engine.geometry``), ``method``
    what a cutout is made by, with its versions.
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

    ``max_kb`` are 1,000 bytes of the whole file.
    """

    size: Size | None = None
    fit: Literal["crop", "pad", "inside", "stretch"] = "crop"
    ground: str = "white"
    max_kb: int | None = None


AS_IT_IS = Shape()


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """One file a person will find: ``path`` relative to the run's folder, from a step's picture."""

    key: str
    variant: str
    path: str
    format: Literal["png", "jpeg", "webp"]
    quality: int = 95
    shape: Shape = AS_IT_IS


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
class Plan:
    """All steps of a recipe, keyed before any model loads; ``steps`` is in topological order.

    ``labels`` maps every step's label to its key: two labels share one where the pixels would be
    the same. ``sets`` are the ``name=value`` pairs that changed the recipe, ``only`` the
    selectors that narrowed it; ``warnings`` are for people.
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
