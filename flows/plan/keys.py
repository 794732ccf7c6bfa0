"""Keys and seeds: a step's key names its pixels and nothing else (contract 1).

The key is the SHA-256 of canonical JSON over the operation and its parameters, the seed, the
model's weights digest with what else of the model decides pixels, the numerics profile, the
parents' keys, the digests of source files, and how their kind is read and their sizes become the
model's, each where that has changed.
Recipe, step and axis names, file names, batch size, worker and time are not in it: renaming a step
with a seed of its own computes nothing anew.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from flows.plan.step import (
    AS_IT_IS,
    USUAL,
    ContextRef,
    Operation,
    ParentStep,
    PlannedOutput,
    PlannedSheet,
    Region,
    Shape,
    SourceImage,
    StepParams,
)
from flows.store.record import canonical_json
from kontext_engine.geometry import Fit, Size
from kontext_engine.spec import ModelSpec, NumericsProfile

KEY_VERSION = 1
SHEET_VERSION = 2  # of how contact sheets are drawn
PASTE_VERSION = 2  # of the rules in kontext_engine.region, and of what masks mean to models


def step_key(
    operation: Operation,
    params: StepParams,
    contexts: Sequence[ContextRef],
    model: ModelSpec,
    numerics: NumericsProfile,
) -> str:
    """The key of one step; ``params`` as the engine will be asked."""
    return spelling(operation, params, model, numerics).key(params, contexts)


@dataclass(frozen=True, slots=True)
class Spelling:
    """The canonical JSON that a key is the digest of, as far as all steps of the same settings
    share it: what stands before the negative prompt, before the prompt and after the seed.
    """

    first: str
    second: str
    last: str
    negates: bool  # a negative prompt has an effect

    def key(self, params: StepParams, contexts: Sequence[ContextRef]) -> str:
        """The key of a step with these settings."""
        negative = params.negative_prompt if self.negates else None
        text = (
            f'{{"contexts":[{",".join([_context(ref) for ref in contexts])}],{self.first}'
            f'"negative_prompt":{"null" if negative is None else _quoted(negative)},{self.second}'
            f'"prompt":{_quoted(params.prompt)},"seed":{params.seed:d},{self.last}}}'
        )
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def spelling(
    operation: Operation, params: StepParams, model: ModelSpec, numerics: NumericsProfile
) -> Spelling:
    """How the keys of steps are spelt whose parameters are these, but for seed and texts."""
    return _spelt(
        operation, params.steps, params.guidance, params.true_cfg, params.size, params.fit, model,
        numerics,
    )  # fmt: skip


@functools.lru_cache(maxsize=4096)
def _spelt(
    operation: Operation,
    steps: int,
    guidance: float | None,
    true_cfg: float,
    size: Size | None,
    fit: Fit,
    model: ModelSpec,
    numerics: NumericsProfile,
) -> Spelling:
    parts = (
        {
            "fit": fit.value if operation == "edit" else None,
            # What the engine ignores does not change pixels.
            "guidance": _number(guidance) if model.guidance_embedded else None,
            "key": KEY_VERSION,
            "model": model.deciding,
        },
        {"numerics": asdict(numerics), "operation": operation},
        {"size": size, "steps": steps, "true_cfg": _number(true_cfg) if true_cfg > 1 else 1},
    )
    first, second, last = (canonical_json(part).decode("ascii")[1:-1] for part in parts)
    return Spelling(f"{first},", f"{second},", last, true_cfg > 1)


def shape_words(output: PlannedOutput) -> list[Any]:
    """What decides a file beside picture, format and quality; nothing for one as it is."""
    words: list[Any] = [] if output.shape == AS_IT_IS else [shape_of(output.shape)]
    if output.alpha:
        words.append({"alpha": output.alpha})
    if output.credit != USUAL:
        words.append({"credit": asdict(output.credit)})
    return words


def shape_of(shape: Shape) -> dict[str, Any]:
    """A shape for keys and manifests; what came later is there only where it is set."""
    later = {"lossless", "chroma", "flat"}
    return {name: value for name, value in asdict(shape).items() if value or name not in later}


def extended_key(key: str, geometry: int, region: Region | None) -> str:
    """A step's key with what few steps have besides: sizes by newer rules, and a region."""
    if geometry == 1 and region is None:
        return key
    more: dict[str, Any] = {"geometry": geometry} if geometry > 1 else {}
    if region is not None:
        more |= {"region": asdict(region), "paste": PASTE_VERSION}
    return _digest({"step": key, **more})


def cutout_key(contexts: Sequence[ContextRef], method: str) -> str:
    """The key of a cutout, which no model makes."""
    made = {"operation": "cutout", "method": method, "paste": PASTE_VERSION}
    sources = [ref.key if isinstance(ref, ParentStep) else ref.digest for ref in contexts]
    readings = [ref.reading if isinstance(ref, SourceImage) else None for ref in contexts]
    return _digest({"key": KEY_VERSION, "contexts": sources, "readings": readings, **made})


def judge_key(contexts: Sequence[ContextRef], method: str, text: str, region: Region | None) -> str:
    """The key of a judge's look at a picture, which is the first context."""
    sources = [ref.key if isinstance(ref, ParentStep) else ref.digest for ref in contexts]
    readings = [ref.reading if isinstance(ref, SourceImage) else None for ref in contexts]
    kept = None if region is None else asdict(region)
    said = {"operation": "judge", "method": method, "text": text, "region": kept}
    return _digest({"key": KEY_VERSION, "contexts": sources, "readings": readings, **said})


def seeding(step: str, axes: Iterable[str]) -> Callable[[Mapping[str, str]], int]:
    """The seed of a step that has none: 32 bits from its id and the values it depends on.

    It is asked for with the *name* of the value of each of ``axes``, on which the step or its
    ancestors depend. So a variant's seed stays what it is when others come and go, when entries
    change places, and when a prompt or the wording of a value is improved.
    """
    order = sorted(axes)
    pairs = ",".join([f"{_quoted(axis)}:%s" for axis in order])
    spelt = f'{{"seed":{KEY_VERSION},"step":{_quoted(step)},"values":{{{pairs}}}}}'

    def seed(values: Mapping[str, str]) -> int:
        text = spelt % tuple([_quoted(values[axis]) for axis in order])
        return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:4], "big")

    return seed


def take_seed(seed: int, take: int) -> int:
    """The seed of a step's take after the first, which has ``seed``: 32 bits from both."""
    return int(_digest({"take": take, "seed": seed})[:8], 16)


def next_seed(label: str, seed: int) -> int:
    """The seed that a re-roll gives: 32 bits from the label and the seed there was."""
    return int(_digest({"reroll": KEY_VERSION, "label": label, "seed": seed})[:8], 16)


def sheet_key(sheet: PlannedSheet) -> str:
    """A contact sheet's key: of the keys and captions that it shows, and how."""
    said = asdict(replace(sheet, path="", font=None))
    font = None if sheet.font is None else sheet.font.digest
    return _digest({"sheet": SHEET_VERSION, **said, "font": font})


def plan_digest(
    keys: Iterable[str], outputs: Iterable[PlannedOutput], sheets: Iterable[PlannedSheet] = ()
) -> str:
    """What names a run: SHA-256 over the keys, the outputs and the contact sheets."""
    files = [
        [item.path, item.key, item.format, item.quality, *shape_words(item)] for item in outputs
    ]
    shown = [[sheet.path, sheet_key(sheet)] for sheet in sheets]
    more = {"sheets": shown} if shown else {}
    return _digest({"steps": sorted(keys), "outputs": files, **more})


def _context(ref: ContextRef) -> str:
    if isinstance(ref, ParentStep):
        return f'{{"step":{_quoted(ref.key)}}}'
    # What has always been read as it is read now keeps the key that it has always had.
    reading = f'"reading":{ref.reading:d},' if ref.reading > 1 else ""
    return f'{{{reading}"source":{_quoted(ref.digest)}}}'


def _number(value: float | None) -> float | None:
    """2.0 as 2, so that a number has one spelling."""
    return int(value) if value is not None and float(value).is_integer() else value


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()
