"""What the page shows, worked out from a manifest: rows of tiles, problems, headline figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from flows.execution.outcome import Ending, State
from flows.manifest import FILE_NAME, Manifest, OutputEntry, SourceEntry, StepEntry, VariantEntry
from flows.report.links import Links
from flows.thumbs import Thumbnail

Lookup = Callable[[str], Thumbnail | None]  # by a source's or a blob's digest

_STATE_WORDS = {
    State.DONE: "new",
    State.CACHED: "cached",
    State.FAILED: "failed",
    State.BLOCKED: "blocked",
    State.PENDING: "not reached",
}


@dataclass(frozen=True, slots=True)
class Link:
    """An output file: what it is called and where it is, from the page."""

    name: str
    href: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A thumbnail on the page: where it is, from the page, and its size in pixels."""

    src: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture in a strip. ``follows`` tells that it reads the tile before it."""

    name: str
    state: str
    word: str
    thumb: Shown | None
    missing: str
    follows: bool = False
    origin: str = ""
    prompt: str = ""
    negative: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    key: str = ""
    notes: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One variant's strip."""

    anchor: str
    title: str
    values: tuple[tuple[str, str], ...]
    tiles: tuple[Tile, ...]
    troubled: bool
    words: str


@dataclass(frozen=True, slots=True)
class FailedStep:
    """A failed step: where it is on the page and what waits for it."""

    label: str
    key: str
    attempts: int
    anchor: str
    blocked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason and all steps that failed for it: a broken input fails in many variants."""

    reason: str
    steps: tuple[FailedStep, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the template reads."""

    manifest: Manifest
    headline: str
    tone: str
    figures: tuple[tuple[str, str, str], ...]  # value, name, tone
    facts: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...]
    output_problems: tuple[OutputEntry, ...]
    rows: tuple[Row, ...]
    machine: str  # where manifest.json is, from the page


def build_page(manifest: Manifest, thumbs: Lookup, links: Links) -> Page:
    """The page of a run; ``thumbs`` finds thumbnails by digest."""
    tiles = _Tiles(manifest, thumbs, links)
    rows = tuple(
        _row(f"v{number}", variant, tiles) for number, variant in enumerate(manifest.variants, 1)
    )
    anchors = {variant.id: row.anchor for variant, row in zip(manifest.variants, rows, strict=True)}
    headline, tone = _headline(manifest)
    return Page(
        manifest=manifest,
        headline=headline,
        tone=tone,
        figures=_figures(manifest),
        facts=_facts(manifest),
        problems=_problems(manifest, anchors),
        output_problems=tuple(entry for entry in manifest.outputs if entry.problem),
        rows=rows,
        machine=links.href(FILE_NAME),
    )


def _headline(manifest: Manifest) -> tuple[str, str]:
    failed = manifest.counts[State.FAILED]
    if manifest.ending is Ending.STOPPED:
        return "Stopped", "bad"
    if manifest.ending is Ending.INTERRUPTED:
        return "Interrupted", "warn"
    if failed:
        return f"{failed} failed", "bad"
    if not manifest.whole:
        return "Outputs missing", "warn"
    return "All done", "good"


def _figures(manifest: Manifest) -> tuple[tuple[str, str, str], ...]:
    counts = manifest.counts
    always = [
        (str(len(manifest.variants)), "variants", ""),
        (str(len(manifest.steps)), "pictures", ""),
        (str(counts[State.DONE]), "new", ""),
        (str(counts[State.CACHED]), "cached", ""),
    ]
    rest = [(State.FAILED, "bad"), (State.BLOCKED, "warn"), (State.PENDING, "warn")]
    found = [(str(counts[s]), _STATE_WORDS[s], tone) for s, tone in rest if counts[s]]
    return (*always, *found, (duration(manifest.seconds), "wall time", ""))


def _facts(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    engine = sum(step.seconds or 0.0 for step in manifest.in_state(State.DONE))
    numerics = manifest.numerics
    model = f"{manifest.model.name} ({manifest.model.digest[:12]})"
    facts = [
        ("Model", model),
        ("Numerics", f"{numerics.get('dtype', '?')} on {numerics.get('device', '?')}"),
        ("Engine time", duration(engine)),
        ("Written", manifest.written.replace("T", " ").replace("+00:00", " UTC")),
        ("Recipe", manifest.recipe_file),
        ("Plan", manifest.plan[:12]),
        ("Software", manifest.software),
    ]
    if manifest.sets:
        facts.insert(-2, ("Set", ", ".join(manifest.sets)))
    if manifest.model.licence:
        facts.insert(1, ("Licence", manifest.model.licence))
    return tuple(facts)


def _problems(manifest: Manifest, anchors: Mapping[str, str]) -> tuple[Problem, ...]:
    blocked: dict[str, list[str]] = {}
    for step in manifest.in_state(State.BLOCKED):
        blocked.setdefault(step.blocked_by or "", []).append(step.label)
    reasons: dict[str, list[FailedStep]] = {}
    for step in manifest.in_state(State.FAILED):
        failed = FailedStep(
            label=step.label,
            key=step.key,
            attempts=step.attempts,
            anchor=next((anchors[name] for name in step.variants if name in anchors), ""),
            blocked=tuple(blocked.get(step.key, ())),
        )
        reasons.setdefault(step.reason, []).append(failed)
    return tuple(Problem(reason, tuple(steps)) for reason, steps in reasons.items())


def _row(anchor: str, variant: VariantEntry, tiles: _Tiles) -> Row:
    steps = tiles.steps_of(variant)
    prompts = " ".join(f"{step.label} {step.params.get('prompt', '')}" for step in steps)
    strip = tuple(tiles.strip(steps))
    words = " ".join((variant.id, *(tile.name for tile in strip), prompts))
    return Row(
        anchor=anchor,
        title="" if variant.values else variant.id,
        values=tuple(variant.values.items()),
        tiles=strip,
        troubled=any(step.state not in {State.DONE, State.CACHED} for step in steps),
        words=words.casefold(),
    )


class _Tiles:
    """Makes tiles; knows every step, source, thumbnail and output of the run."""

    def __init__(self, manifest: Manifest, thumbs: Lookup, links: Links) -> None:
        self._steps = {step.key: step for step in manifest.steps}
        self._sources = {source.digest: source for source in manifest.sources}
        self._thumbs = thumbs
        self._href = links.href
        self._links: dict[str, list[Link]] = {}
        for output in manifest.outputs:
            if output.sha256:
                link = Link(output.path, links.href(output.path))
                self._links.setdefault(output.key, []).append(link)

    def steps_of(self, variant: VariantEntry) -> list[StepEntry]:
        """The variant's steps, each once."""
        return [self._steps[key] for key in dict.fromkeys(variant.keys) if key in self._steps]

    def strip(self, steps: list[StepEntry]) -> Iterator[Tile]:
        """The sources that these steps look at, then the steps."""
        before: str | None = None
        for digest in dict.fromkeys(
            context.name for step in steps for context in step.contexts if context.kind == "source"
        ):
            if digest in self._sources:
                yield self._source(self._sources[digest])
                before = digest
        for step in steps:
            yield self._step(step, before)
            before = step.key

    def _shown(self, digest: str | None) -> Shown | None:
        thumb = self._thumbs(digest) if digest else None
        if thumb is None:
            return None
        return Shown(self._href(thumb.name), thumb.width, thumb.height)

    def _source(self, source: SourceEntry) -> Tile:
        thumb = self._shown(source.digest)
        return Tile(
            name=source.file,
            state="source" if thumb else "broken",
            word=source.input,
            thumb=thumb,
            missing="" if thumb else (source.problem or "not at hand"),
        )

    def _step(self, step: StepEntry, before: str | None) -> Tile:
        reads = [context.name for context in step.contexts]
        thumb = self._shown(step.blob)
        return Tile(
            name=step.name,
            state=step.state.value,
            word=_STATE_WORDS[step.state],
            thumb=thumb,
            missing="" if thumb else (step.reason or "its picture is not in the store"),
            follows=before in reads,
            origin="" if reads == [before] else self._origin(reads),
            prompt=str(step.params.get("prompt", "")),
            negative=str(step.params.get("negative_prompt") or ""),
            facts=_step_facts(step),
            key=step.key,
            notes=step.notes,
            links=tuple(self._links.get(step.key, ())),
        )

    def _origin(self, reads: list[str]) -> str:
        names = []
        for name in reads:
            if name in self._steps:
                names.append(self._steps[name].name)
            elif name in self._sources:
                names.append(self._sources[name].file)
        return " + ".join(names)


def _step_facts(step: StepEntry) -> tuple[tuple[str, str], ...]:
    params = step.params
    facts = [("seed", str(params.get("seed", "?"))), ("steps", str(params.get("steps", "?")))]
    if params.get("guidance") is not None:
        facts.append(("guidance", f"{params['guidance']:g}"))
    if (params.get("true_cfg") or 1) > 1:
        facts.append(("cfg", f"{params['true_cfg']:g}"))
    if step.width and step.height:
        facts.append(("size", f"{step.width}×{step.height}"))
    if step.seconds is not None:
        facts.append(("time", duration(step.seconds)))
    if len(step.variants) > 1:
        facts.append(("shared by", f"{len(step.variants)} variants"))
    return tuple(facts)


def duration(seconds: float) -> str:
    """``0.41 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
