"""Settings, each of them once, in one typed place; ``load`` reads them.

The command line comes before ``KONTEXT_*`` variables, these before ``kontext.toml``. Credentials
are not among them: boto3's own chain finds them (environment, profile, role).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from flows.problems import ProblemsError
from flows.settings.address import understood
from flows.settings.sections import (
    BEGINS_AT_FILE,
    CREDENTIALS,
    DeliverySettings,
    GcSettings,
    InputSettings,
    NightSettings,
    S3Settings,
    Section,
    WorkerSettings,
    home,
    said_by,
    web_address,
    wrong,
)
from kontext_engine.numerics import Device

__all__ = [
    "DEFAULT_BATCH",
    "DEFAULT_OUT",
    "MAX_PRESIGN",
    "RESIDENT_PATIENCE",
    "DeliverySettings",
    "GcSettings",
    "InputSettings",
    "NightSettings",
    "S3Settings",
    "Settings",
    "SettingsError",
    "WorkerSettings",
    "resident",
]

DEFAULT_OUT = "out"
DEFAULT_BATCH = 8
MAX_PRESIGN = 7 * 24 * 3600  # signature version 4 ends after a week
RESIDENT_PATIENCE = 1800.0  # seconds


class SettingsError(ProblemsError):
    """The settings cannot be used as they stand; ``problems`` has one line for each mistake."""


class Settings(Section):
    """Everything that is set for a machine or a project rather than in a recipe.

    Made by hand it has these defaults and reads nothing; ``load_settings`` reads.
    """

    store: Annotated[str, BeforeValidator(home)] = Field(
        default=DEFAULT_OUT, min_length=1, json_schema_extra=said_by("--store", **BEGINS_AT_FILE)
    )
    """Where pictures and runs are kept: a folder or s3://bucket/prefix."""
    recipes: Annotated[str, BeforeValidator(home)] = Field(
        default="recipes", min_length=1, json_schema_extra=said_by("--recipes", **BEGINS_AT_FILE)
    )
    """Where recipes are found by name: a folder or s3://bucket/prefix."""
    project: str | None = Field(default=None, min_length=1, max_length=60)
    """What the recipes beside it belong to: decisions of one project are not another's."""
    author: str | None = Field(default=None, min_length=1, max_length=120)
    """Who decides about pictures here; default: the system's user."""
    batch: int = Field(default=DEFAULT_BATCH, ge=1, json_schema_extra=said_by("--batch"))
    """The most pictures computed together."""
    device: Device = Field(default=Device.CPU, json_schema_extra=said_by("--device"))
    """Where pictures are computed."""
    links: Literal["relative", "presigned"] = Field(
        default="relative", json_schema_extra=said_by("--links")
    )
    """How a report in S3 names its pictures: by their place beside it, or by links that anybody
    who holds them can open for a while.
    """
    presign_seconds: int = Field(default=MAX_PRESIGN, ge=1, le=MAX_PRESIGN)
    """Seconds that presigned links last."""
    files_url: str | None = None
    """Where a folder store's files are served, such as http://127.0.0.1:4280: links to reports in
    it begin so.
    """
    wait: float = Field(default=60.0, ge=0, json_schema_extra=said_by("--wait"))
    """Seconds that a command which does not stay waits for a Prefect server that is away."""
    metrics_host: str = Field(
        default="127.0.0.1", min_length=1, json_schema_extra=said_by("--metrics-host")
    )
    """The address that health and metrics are served on: 0.0.0.0 for other machines, too."""
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, json_schema_extra=said_by("--metrics-port")
    )
    """The port of /health/live, /health/ready and /metrics of a process that stays; 0: any, which
    it prints; default: none.
    """
    log_format: Literal["text", "json"] = Field(
        default="text", json_schema_extra=said_by("--log-format")
    )
    """How a process that stays writes its log: lines for people, or a JSON object on each."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", json_schema_extra=said_by("--log-level")
    )
    """What is left out of that log: all below."""
    worker: WorkerSettings = WorkerSettings()
    night: NightSettings = NightSettings()
    s3: S3Settings = S3Settings()
    inputs: InputSettings = InputSettings()
    gc: GcSettings = GcSettings()
    delivery: DeliverySettings = DeliverySettings()

    @field_validator("files_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        return None if value is None else web_address(value).rstrip("/")

    @field_validator("store", "recipes")
    @classmethod
    def _plain_store(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if separator and ("@" in rest or "?" in rest):
            raise wrong(f"holds credentials or a signature; {CREDENTIALS}")
        if separator and scheme != "s3":
            raise wrong("is no place for pictures; expected a folder or s3://bucket/prefix")
        try:
            understood(value)
        except ValueError as error:
            raise wrong(f"is no address of a store: {error}; mend it") from None
        return value

    def given(self, **named: Any) -> Settings:
        """These settings with what the command line says; ``None`` is what it does not say.

        What is said of a section is a dictionary.

        Raises:
            SettingsError: a value is wrong.
        """
        from flows.settings.load import flag, validated

        values = {name: getattr(self, name) for name in Settings.model_fields}
        for name, value in named.items():
            if isinstance(value, dict):
                said = {key: one for key, one in value.items() if one is not None}
                if said:
                    values[name] = {**dict(values[name]), **said}
            elif value is not None:
                values[name] = value
        return validated(lambda: Settings(**values), lambda names: (flag(names), None))

    def reading_below(self, root: str) -> Settings:
        """These settings for a recipe that may read what lies below the folder ``root``, too."""
        inputs = self.inputs.model_copy(update={"roots": (*self.inputs.roots, root)})
        return self.model_copy(update={"inputs": inputs})


def resident(settings: Settings) -> Settings:
    """For a process that stays: it waits for an S3 server that is away, unless it was told not to.

    Who sits before a terminal wants to hear of an outage; a worker's work is worth half an hour.
    """
    if "patience" in settings.s3.model_fields_set:
        return settings
    patient = settings.s3.model_copy(update={"patience": RESIDENT_PATIENCE})
    return settings.model_copy(update={"s3": patient})
