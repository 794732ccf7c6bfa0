"""Options that several verbs share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.numerics import Device, Dtype

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe's YAML file.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a variable or a setting."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="SELECTOR",
        help="STEP, STEP\\[axis=value,...] or axis=value; with what they need. Repeat to add.",
    ),
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where pictures and runs are kept.")
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Another model than the recipe's.")
]
OnDevice = Annotated[Device, typer.Option("--device", help="Where pictures are computed.")]
InDtype = Annotated[
    Dtype | None,
    typer.Option("--dtype", help="Precision; default: float32 on cpu, bfloat16 on cuda."),
]


def settings(sets: list[str] | None, model: str | None) -> tuple[str, ...]:
    """``--set`` and ``--model`` as the recipe takes them."""
    return (*(sets or ()), *([f"model={model}"] if model else ()))
