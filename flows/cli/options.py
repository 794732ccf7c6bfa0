"""Options that several verbs share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kontext_engine.numerics import Device, Dtype

if TYPE_CHECKING:
    from flows.settings import Settings


RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe's YAML file.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a variable or a setting."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SELECTOR",
        help="STEP, STEP\\[axis=value,...], axis=value or axis.variable=text, also with * and ?; "
        "an axis named twice may be either. With what they need. Repeat to add.",
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        "--out",
        metavar="PLACE",
        help="Where pictures and runs are kept: a folder or s3://bucket/prefix; default: the "
        "setting, else 'out'.",
    ),
]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Another model than the recipe's.")]
OnDevice = Annotated[
    Device | None,
    typer.Option(help="Where pictures are computed; default: the setting, else cpu."),
]
Batch = Annotated[
    int | None,
    typer.Option(min=1, help="The most pictures computed together; default: the setting."),
]
LinkKind = Annotated[
    Literal["relative", "presigned"] | None,
    typer.Option(
        help="How the report names its pictures: relative, or, in S3, presigned: for whoever has "
        "the page, for a while.",
    ),
]
Recipes = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Where recipes are found by name: a folder or s3://bucket/prefix; default: the "
        "setting, else 'recipes'.",
    ),
]
MetricsHost = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Serve health and metrics there; default: the setting, else 127.0.0.1, which other "
        "machines do not reach.",
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        metavar="PORT",
        help="Serve /health/live, /health/ready and /metrics; 0: any port, which is printed; "
        "default: the setting, else none of them.",
    ),
]
LogFormat = Annotated[
    Literal["text", "json"] | None,
    typer.Option(help="Lines for people, or a JSON object on each; default: the setting."),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    typer.Option(help="What is below it is left out of the log; default: the setting."),
]
Wait = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long a Prefect server that is away is waited for; default: the setting, else 60.",
    ),
]
State = Annotated[
    Path,
    typer.Option(metavar="FOLDER", help="Where 'kontext up' keeps what it has, logs too."),
]
InDtype = Annotated[
    Dtype | None, typer.Option(help="Precision; default: float32 on cpu, bfloat16 on cuda.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


def effective(near: Path | None = None, **given: object) -> Settings:
    """This process's settings, with what options of the same names say.

    ``near`` is a recipe: the ``kontext.toml`` of its folder, or above it, comes first.

    Raises:
        SettingsError: told, with its places, by ``main``.
    """
    from flows.settings.load import load_settings

    return load_settings(near.parent if near is not None else None).given(**given)


def changes(sets: list[str] | None, model: str | None) -> tuple[str, ...]:
    """``--set`` and ``--model`` as the recipe takes them."""
    return (*(sets or ()), *([f"model={model}"] if model else ()))
