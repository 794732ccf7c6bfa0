"""``kontext show``: what decides the pixels of a delivered file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import told
from flows.cli.options import AsJson, Store, effective

if TYPE_CHECKING:
    from flows.pull.origin import Origin


def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A delivered picture.")],
    *,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Print what decides the pixels of FILE: its prompts, seeds, model, numerics and sources.

    By the file's own data; of one that tells nothing, by the runs of the store.
    """
    found = find_origin(file, store)
    if as_json:
        about = {"found": found.how, "recipe": found.recipe, "step": found.label}
        typer.echo(json.dumps({**about, "made": found.made, **found.told}, indent=1))
        return
    for line in _lines(found):
        typer.echo(line)


def find_origin(file: Path, store: str | None) -> Origin:
    """Where a file comes from; what cannot be told ends the command."""
    from flows.pull.origin import NoOrigin, origin_of
    from flows.store.address import open_objects
    from flows.store.base import StoreError

    settings = effective(store=store)
    with told(NoOrigin, StoreError):
        return origin_of(
            read(file), file.name, lambda: open_objects(settings.store, settings)
        )  # fmt: skip


def read(file: Path) -> bytes:
    """A file's bytes."""
    try:
        return file.read_bytes()
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        text = f"{file}: cannot be read ({why}); expected a picture"
        raise typer.BadParameter(text, param_hint="FILE") from None


def _lines(found: Origin) -> Iterator[str]:
    said = found.told
    yield f"found     {found.how}"
    yield f"recipe    {found.recipe}, {found.label}"
    if found.made:
        yield f"made      {found.made}"
    yield f"key       {said['key']}"
    yield f"model     {said['model']['name']} ({said['model']['digest']})"
    numerics = said["numerics"]
    yield f"numerics  {numerics.get('dtype')} on {numerics.get('device')}"
    file = said["file"]
    said_of = file["shape"]
    names = ("size", "fit", "ground") if said_of.get("size") else ()
    names = (*names, *(name for name in said_of if name not in ("size", "fit", "ground")))
    shape = [f", {name} {_shown(said_of[name])}" for name in names if said_of[name]]
    yield f"file      {file['format']}, quality {file['quality']}{''.join(shape)}"
    for number, step in enumerate(said["steps"]):
        mark = "picture" if number == said["picture"] else f"step {number + 1}"
        mark = "alpha" if number == said.get("alpha") else mark
        yield f"{mark:<9} {_words(step, found)}"


def _words(step: dict[str, Any], found: Origin) -> str:
    params = step["params"]
    reads = [
        f"step {ref['step'] + 1}" if "step" in ref else _source(ref["source"], found)
        for ref in step["contexts"]
    ]
    parts = [step["operation"], *([f"of {' and '.join(reads)}"] if reads else [])]
    if step["operation"] != "cutout":
        parts.append(f'"{params["prompt"]}", seed {params["seed"]}, {params["steps"]} steps')
        for name in ("guidance", "true_cfg", "negative_prompt", "size", "fit"):
            value = params.get(name)
            if value is not None and not (name == "true_cfg" and value == 1):
                parts.append(f", {name} {_shown(value)}")
    more = [f", {name} {step[name]}" for name in ("region", "method", "geometry") if name in step]
    return " ".join(parts).replace(" , ", ", ") + "".join(more)


def _shown(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _source(digest: str, found: Origin) -> str:
    name = found.files.get(digest)
    return f"{name} ({digest[:12]})" if name else f"source {digest[:12]}"
