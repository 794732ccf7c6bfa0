"""``kontext init``: a folder with a first recipe that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import ExitCode

FIRST = Path(__file__).with_name("first")
SAMPLES = ("samples/ATTRIBUTION.md", "samples/backpack.png", "samples/top-hat.png")


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to put it; made if it is not there.")
    ] = Path(),
) -> None:
    """Write a first recipe with its schema and two sample pictures; nothing is overwritten.

    'kontext run first.yaml' there makes four pictures with the model that is shipped.
    """
    from flows.recipe.schema import SCHEMA_FILE, json_schema_text

    files = {name: (FIRST / name).read_bytes() for name in ("first.yaml", *SAMPLES)}
    files[SCHEMA_FILE] = json_schema_text().encode()
    for name, data in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
            typer.echo(f"{path}")
        except FileExistsError:
            typer.echo(f"note: {path} is there already, and stays as it is", err=True)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            text = f"{path}: cannot be written ({reason}); expected a writable folder; name another"
            typer.echo(text, err=True)
            raise typer.Exit(ExitCode.FAILED) from None
    typer.echo(f"next      kontext run {folder / 'first.yaml'}")
