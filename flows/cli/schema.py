"""``kontext schema``: the recipe format, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import ExitCode


def schema(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it here instead of printing it.")
    ] = None,
) -> None:
    """Print the JSON schema of recipes, which gives editors completion, hover and checks.

    A recipe asks for it by its first line:
    [cyan]# yaml-language-server: $schema=recipe.schema.json[/cyan]
    """
    from flows.recipe.schema import json_schema_text
    from kontext_engine.files import write_whole

    if out is None:
        typer.echo(json_schema_text(), nl=False)
        return
    try:
        write_whole(out, json_schema_text())
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        typer.echo(f"{out}: cannot be written ({reason}); expected a writable file", err=True)
        raise typer.Exit(ExitCode.FAILED) from None
    typer.echo(str(out))
