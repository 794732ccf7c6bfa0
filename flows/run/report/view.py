"""What the page shows, worked out from a manifest: rows of tiles, problems, headline figures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flows.run.manifest import Manifest, SourceEntry, StepEntry, VariantEntry
from flows.run.outcome import Ending, State
from flows.run.thumbs import Thumbnail

Lookup = Callable[[str], Thumbnail | None]  # by a source's or a blob's digest
Facts = tuple[tuple[str, str], ...]

_FINE = frozenset((State.DONE, State.CACHED))
_STATE_WORDS = {
    State.DONE: "new",
    State.CACHED: "cached",
    State.FAILED: "failed",
    State.BLOCKED: "blocked",
    State.PENDING: "not reached",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture in a strip: a step's, or a source's. ``follows``: it reads the one before it.

    ``files`` are the names of its outputs, ``difference`` shows what a region kept.
    """

    name: str
    state: str
    word: str
    thumb: Thumbnail | None
    missing: str
    step: StepEntry | None = None
    follows: bool = False
    origin: str = ""
    facts: Facts = ()
    files: tuple[str, ...] = ()
    difference: Thumbnail | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One variant's strip."""

    anchor: str
    variant: VariantEntry
    tiles: tuple[Tile, ...]
    troubled: bool
    words: str


def page_of(manifest: Manifest, thumbs: Lookup) -> dict[str, Any]:
    """What the template reads, by name; ``thumbs`` finds thumbnails by digest."""
    tiles = _Tiles(manifest, thumbs)
    headline, tone = _headline(manifest)
    anchors = {one.id: f"v{number}" for number, one in enumerate(manifest.variants, 1)}
    blocked: defaultdict[str, list[str]] = defaultdict(list)
    for step in manifest.in_state(State.BLOCKED):
        blocked[step.blocked_by or ""].append(step.label)
    # By reason: a broken input fails in many variants.
    problems: defaultdict[str, list[StepEntry]] = defaultdict(list)
    for step in manifest.in_state(State.FAILED):
        problems[step.reason].append(step)
    return {
        "manifest": manifest,
        "headline": headline,
        "tone": tone,
        "figures": _figures(manifest),
        "facts": _facts(manifest),
        "problems": problems,
        "blocked": blocked,
        "anchors": anchors,
        "open": _open(manifest),
        "troubled": not _FINE.issuperset(step.state for step in manifest.steps),
        # One at a time: of 10^4 variants all tiles at once take hundreds of megabytes.
        "rows": (_row(anchors[one.id], one, tiles) for one in manifest.variants),
    }


def _open(manifest: Manifest) -> list[tuple[str, str, list[str], int]]:
    """Undecided picks: label, who picks, the candidates, and how many steps wait for it."""
    behind = Counter(pick for picks in manifest.waiting.values() for pick in picks)
    return [
        (pick.label, pick.judge or "hand", list(pick.candidates.values()), behind[pick.label] - 1)
        for pick in manifest.picks
        if pick.chosen is None
    ]


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
    return ("Waiting for picks", "warn") if manifest.waiting else ("All done", "good")


def _figures(manifest: Manifest) -> tuple[tuple[str, str, str], ...]:
    """Each a value, its name and its tone."""
    counts = manifest.counts
    always = [
        (str(len(manifest.variants)), "variants", ""),
        (str(len(manifest.steps)), "pictures", ""),
        (str(counts[State.DONE]), "new", ""),
        (str(counts[State.CACHED]), "cached", ""),
    ]
    rest = [(State.FAILED, "bad"), (State.BLOCKED, "warn"), (State.PENDING, "warn")]
    found = [(str(counts[s]), _STATE_WORDS[s], tone) for s, tone in rest if counts[s]]
    if manifest.waiting:
        found.append((str(len(manifest.waiting)), "waiting", "warn"))
    return (*always, *found, (duration(manifest.seconds), "wall time", ""))


def _facts(manifest: Manifest) -> Facts:
    engine = sum(step.seconds or 0.0 for step in manifest.in_state(State.DONE))
    numerics = manifest.numerics
    facts = (
        ("Model", f"{manifest.model.name} ({manifest.model.digest[:12]})"),
        ("Licence", manifest.model.licence),
        ("Numerics", f"{numerics.get('dtype', '?')} on {numerics.get('device', '?')}"),
        ("Engine time", duration(engine)),
        ("Written", manifest.written.replace("T", " ").replace("+00:00", " UTC")),
        ("Recipe", manifest.recipe_file),
        ("Set", ", ".join(manifest.sets)),
        ("Only", ", ".join(manifest.only)),
        ("Plan", manifest.plan[:12]),
        ("Software", manifest.software),
    )
    return tuple((name, value) for name, value in facts if value)


def _row(anchor: str, variant: VariantEntry, tiles: _Tiles) -> Row:
    steps = tiles.steps_of(variant)
    strip = tuple(tiles.strip(steps))
    prompts = (f"{step.label} {step.params.get('prompt', '')}" for step in steps)
    words = " ".join((variant.id, *(tile.name for tile in strip), " ".join(prompts)))
    troubled = not _FINE.issuperset(step.state for step in steps)
    return Row(anchor, variant, strip, troubled, words.casefold())


class _Tiles:
    """Makes tiles; knows every step, source, thumbnail and output of the run."""

    def __init__(self, manifest: Manifest, thumbs: Lookup) -> None:
        self._steps = {step.key: step for step in manifest.steps}
        self._sources = {source.digest: source for source in manifest.sources}
        self._thumbs = thumbs
        self._files: defaultdict[str, list[str]] = defaultdict(list)
        self._kept: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for output in manifest.outputs:
            if output.sha256:
                self._files[output.key].append(output.path)
                if output.kept:
                    self._kept[output.key].append((output.path, output.kept))

    def steps_of(self, variant: VariantEntry) -> list[StepEntry]:
        """The variant's steps, each once."""
        return [self._steps[key] for key in dict.fromkeys(variant.keys) if key in self._steps]

    def strip(self, steps: list[StepEntry]) -> Iterator[Tile]:
        """The sources that these steps look at, then the steps."""
        before: str | None = None
        contexts = (context for step in steps for context in step.contexts)
        for digest in dict.fromkeys(one.name for one in contexts if one.kind == "source"):
            if digest in self._sources:
                yield self._source(self._sources[digest])
                before = digest
        for step in steps:
            yield self._step(step, before)
            before = step.key

    def _source(self, source: SourceEntry) -> Tile:
        thumb = self._thumbs(source.digest)
        state = "source" if thumb else "broken"
        return Tile(source.file, state, source.input, thumb, source.problem or "not at hand")

    def _step(self, step: StepEntry, before: str | None) -> Tile:
        reads = [context.name for context in step.contexts]
        return Tile(
            name=step.name,
            state=step.state.value,
            word=_STATE_WORDS[step.state],
            thumb=self._thumbs(step.blob) if step.blob else None,
            missing=step.reason or "its picture is not in the store",
            step=step,
            follows=before in reads,
            origin="" if reads == [before] else " + ".join(self._names(reads)),
            facts=(*_step_facts(step), *self._kept[step.key]),
            files=tuple(self._files[step.key]),
            difference=self._thumbs(shown.digest) if (shown := difference_of(step)) else None,
        )

    def _names(self, reads: list[str]) -> Iterator[str]:
        for name in reads:
            if name in self._steps:
                yield self._steps[name].name
            elif name in self._sources:
                yield self._sources[name].file


def difference_of(step: StepEntry) -> Thumbnail | None:
    """The picture that shows what a step with a region kept of its source."""
    digest = step.geometry.get("region", {}).get("difference")
    if not digest or not step.width or not step.height:
        return None
    return Thumbnail.of(digest, step.width, step.height)


def _step_facts(step: StepEntry) -> Facts:
    params: Mapping[str, Any] = step.params
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
