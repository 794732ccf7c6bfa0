"""``kontext config``: what is set here, and where each value came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flows.settings.load import Effective


def config(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show every setting, its value here and where it came from.

    Environment variables (KONTEXT_*) win over kontext.toml in the current folder or a parent,
    which wins over the defaults. Credentials are never settings; only where they come from is
    shown.
    """
    from flows.settings.load import effective_settings

    found = effective_settings()
    rows = list(_rows(found))
    credentials = _credentials()
    if as_json:
        whole = {
            "file": found.file.shown if found.file else None,
            "settings": {name: {"value": value, "from": origin} for name, value, origin in rows},
            "credentials": credentials,
        }
        typer.echo(json.dumps(whole, indent=1))
        return
    shown = [(name, _text(value), origin) for name, value, origin in rows]
    shown.append(("AWS credentials", "", credentials or "none found"))
    widths = [max(len(row[column]) for row in shown) for column in (0, 1)]
    for name, value, origin in shown:
        typer.echo(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}")


def _rows(found: Effective) -> Iterator[tuple[str, Any, str]]:
    from flows.settings.load import leaves

    plain = found.settings.model_dump(mode="json")
    for names, _ in leaves():
        value: Any = plain
        for name in names:
            value = value[name]
        yield ".".join(names), _masked(value), found.origins[names]


def _masked(value: Any) -> Any:
    from flows.settings.secrecy import masked

    if isinstance(value, list):
        return [_masked(item) for item in value]
    return masked(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _credentials() -> str | None:
    from flows.store.boto import credential_source

    return credential_source()
