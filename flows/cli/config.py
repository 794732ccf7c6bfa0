"""``kontext config``: what is set here, and where each value came from."""

from __future__ import annotations

import json
from typing import Any

import typer

from flows.cli.options import AsJson
from flows.cli.words import aligned


def config(as_json: AsJson = False) -> None:
    """Show every setting, its value here and where it came from.

    Environment variables (KONTEXT_*) win over kontext.toml in the current folder or a parent,
    which wins over the defaults. Credentials are never settings; only where they come from is
    shown.
    """
    from flows.settings.load import effective_settings
    from flows.store.boto import credential_source

    found, credentials = effective_settings(), credential_source()
    plain = found.settings.model_dump(mode="json")
    rows: dict[str, tuple[Any, str]] = {}
    for names, origin in found.origins.items():
        value: Any = plain
        for name in names:
            value = value[name]
        rows[".".join(names)] = _masked(value), origin
    if as_json:
        whole = {
            "file": found.file.shown if found.file else None,
            "settings": {name: {"value": value, "from": at} for name, (value, at) in rows.items()},
            "credentials": credentials,
        }
        typer.echo(json.dumps(whole, indent=1))
        return
    shown = [(name, _text(value), origin) for name, (value, origin) in rows.items()]
    shown.append(("AWS credentials", "", credentials or "none found"))
    typer.echo("\n".join(aligned(shown)))


def _masked(value: Any) -> Any:
    from flows.settings.secrecy import masked

    if isinstance(value, list):
        return [_masked(item) for item in value]
    return masked(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
