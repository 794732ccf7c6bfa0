"""``kontext models``: what there is to make pictures with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import ExitCode
from flows.cli.words import aligned

if TYPE_CHECKING:
    from kontext_engine.spec import ModelSpec


def models(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Further diffusers folders to show."),
    ] = None,
) -> None:
    """List the models that a recipe can name, their sizes, abilities and licences."""
    from kontext_engine.catalogue import list_models, resolve_model
    from kontext_engine.errors import ModelError

    rows: list[tuple[str, ...]] = []
    licences: dict[str, int] = {}
    wrong: list[str] = []
    named = [(entry.name, entry.available, entry.licence) for entry in list_models()]
    for name, available, licence in (*named, *((str(path), True, "") for path in folders or ())):
        if not available:
            rows.append((name, *[""] * 3, "not here", _number(licence, licences)))
            continue
        try:
            spec = resolve_model(name)
        except ModelError as error:
            wrong.append(str(error))
            continue
        rows.append((name, *_abilities(spec), _number(spec.licence, licences)))
    head = ("model", "size", "contexts", "guidance", "digest", "licence")
    for line in aligned([head, *rows]):
        typer.echo(line)
    for licence, number in licences.items():
        typer.echo(f"({number}) {licence}")
    for problem in wrong:
        typer.echo(problem, err=True)
    if wrong:
        raise typer.Exit(ExitCode.FAILED)


def _abilities(spec: ModelSpec) -> tuple[str, ...]:
    contexts = f"{spec.max_contexts}, in {spec.condition.value}"
    guidance = f"{spec.default_guidance:g}" if spec.guidance_embedded else "none"
    return str(spec.default_size), contexts, guidance, spec.digest[:12]


def _number(licence: str, licences: dict[str, int]) -> str:
    return f"({licences.setdefault(licence, len(licences) + 1)})" if licence else ""
