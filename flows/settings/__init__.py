"""Settings, each of them once, in one typed place; ``load`` reads them.

The command line comes before ``KONTEXT_*`` variables, these before ``kontext.toml``. Credentials
are not among them: boto3's own chain finds them (environment, profile, role).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from flows.problems import ProblemsError
from flows.settings.address import understood
from kontext_engine.numerics import Device

DEFAULT_OUT = "out"
DEFAULT_BATCH = 8
MAX_PRESIGN = 7 * 24 * 3600  # signature version 4 ends after a week
RESIDENT_PATIENCE = 1800.0  # seconds
CREDENTIALS = (
    "expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, a profile in "
    "~/.aws or a role; remove it here"
)


class SettingsError(ProblemsError):
    """The settings cannot be used as they stand; ``problems`` has one line for each mistake."""


def wrong(text: str, at: str = "") -> PydanticCustomError:
    """A mistake told in our own words; ``at`` names the field when a whole section is checked."""
    return PydanticCustomError("kontext", "{text}", {"text": text, "at": at})


def _split(value: Any) -> Any:
    # A variable holds a list as names between commas.
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _home(value: Any) -> Any:
    return str(Path(value).expanduser()) if isinstance(value, str) and value[:1] == "~" else value


# A path in kontext.toml begins at that file's folder: ``load`` looks for this mark.
BEGINS_AT_FILE: dict[str, Any] = {"begins_at_file": True}

FilePath = Annotated[Path, BeforeValidator(_home)]


class Section(BaseModel):
    """A part of the settings: unknown names are mistakes, values are frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any) -> Any:
        # pydantic would read true as 1, and no setting is a truth value.
        if isinstance(value, bool):
            raise PydanticCustomError("truth", "a truth value")
        return value


class S3Settings(Section):
    """How an S3 server is spoken to."""

    endpoint_url: str | None = None
    """Another server than AWS: https://host:port."""
    region: str | None = Field(default=None, min_length=1)
    """Default: what boto3 finds, else us-east-1."""
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """path: https://host/bucket; virtual: https://bucket.host."""
    checksums: Literal["when_supported", "when_required"] = "when_supported"
    """when_required for servers that reject boto3's checksums."""
    ca_bundle: Annotated[str, BeforeValidator(_home)] | None = Field(
        default=None, json_schema_extra=BEGINS_AT_FILE
    )
    """A PEM file of authorities to trust over TLS."""
    encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """Server-side encryption to ask for."""
    kms_key: str | None = None
    """The KMS key's id; only with aws:kms."""
    storage_class: str | None = None
    """Such as INTELLIGENT_TIERING."""
    connect_timeout: float = Field(default=5.0, gt=0)
    """Seconds."""
    read_timeout: float = Field(default=30.0, gt=0)
    """Seconds without a byte."""
    attempts: int = Field(default=8, ge=1, le=50)
    """Tries of one request at least, the first included."""
    patience: float = Field(default=90.0, ge=0)
    """Seconds: a failing request is tried again, beyond its attempts if need be, until so long has
    passed (a server that restarts).
    """
    part_size: int = Field(default=16 * 2**20, ge=5 * 2**20)
    """Bytes; larger objects go up in such parts."""
    unconditional: Literal["refuse", "degrade"] = "refuse"
    """What to do on a server that ignores If-None-Match: refuse it, or go on with a warning and
    without protection against two writers of one key.
    """
    link_profile: str | None = Field(default=None, min_length=1)
    """A profile of ~/.aws whose key signs links, which hold its id: one that may only read."""
    link_endpoint_url: str | None = None
    """Where browsers reach the server, if not at endpoint_url: links begin so."""

    @field_validator("endpoint_url", "link_endpoint_url")
    @classmethod
    def _plain_endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            host = parts.hostname
            _ = parts.port
        except ValueError:
            host = None
        if host is None or parts.scheme not in {"http", "https"}:
            raise wrong("is no web address; expected https://host or https://host:port; mend it")
        if parts.username is not None or parts.password is not None or parts.query:
            raise wrong(f"holds credentials or a signature; {CREDENTIALS}")
        if parts.fragment:
            raise wrong("has a '#'; expected https://host or https://host:port; remove it")
        return value

    @model_validator(mode="after")
    def _key_needs_kms(self) -> Self:
        if self.kms_key is not None and not (self.encryption or "").startswith("aws:kms"):
            text = "is given without KMS; expected encryption = 'aws:kms' beside it; add it"
            raise wrong(text, at="kms_key")
        return self


class InputSettings(Section):
    """What a recipe may read, and where objects that were read are kept."""

    schemes: Annotated[tuple[Literal["file", "s3"], ...], BeforeValidator(_split)] = ("file", "s3")
    """Where inputs may come from."""
    roots: Annotated[tuple[FilePath, ...], BeforeValidator(_split)] = Field(
        default=(), json_schema_extra=BEGINS_AT_FILE
    )
    """Folders that may be read beside the recipe's and the current one."""
    buckets: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """Buckets that may be read beside the store's own: BUCKET or BUCKET/PREFIX."""
    max_bytes: int = Field(default=256 * 2**20, ge=1)
    """Bytes; a larger object is refused before it is downloaded."""
    cache: FilePath | None = Field(default=None, json_schema_extra=BEGINS_AT_FILE)
    """Where objects that were read are kept; default: kontext/inputs in the user's cache folder."""
    cache_bytes: int = Field(default=4 * 2**30, ge=0)
    """Bytes; what was used longest ago leaves the cache first."""

    @field_validator("buckets")
    @classmethod
    def _bucket_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name.removeprefix("s3://").strip("/") for name in value)
        for name in names:
            if not name or "@" in name or ":" in name or "?" in name or "*" in name:
                raise wrong("has no bucket's name in it; expected BUCKET or BUCKET/PREFIX; mend it")
        return names


class GcSettings(Section):
    """What ``kontext gc`` leaves alone."""

    grace_hours: float = Field(default=72.0, ge=2)
    """Nothing younger is ever removed."""


class Settings(Section):
    """Everything that is set for a machine or a project rather than in a recipe.

    Made by hand it has these defaults and reads nothing; ``load_settings`` reads.
    """

    store: Annotated[str, BeforeValidator(_home)] = Field(
        default=DEFAULT_OUT, min_length=1, json_schema_extra=BEGINS_AT_FILE
    )
    """Where pictures and runs are kept: a folder or s3://bucket/prefix."""
    batch: int = Field(default=DEFAULT_BATCH, ge=1)
    """The most pictures computed together."""
    device: Device = Device.CPU
    """Where pictures are computed."""
    links: Literal["relative", "presigned"] = "relative"
    """How a report in S3 names its pictures: by their place beside it, or by links that anybody
    who holds them can open for a while.
    """
    presign_seconds: int = Field(default=MAX_PRESIGN, ge=1, le=MAX_PRESIGN)
    """Seconds that presigned links last."""
    s3: S3Settings = S3Settings()
    inputs: InputSettings = InputSettings()
    gc: GcSettings = GcSettings()

    @field_validator("store")
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

        Raises:
            SettingsError: a value is wrong.
        """
        from flows.settings.load import validated

        values = {name: getattr(self, name) for name in Settings.model_fields}
        values |= {name: value for name, value in named.items() if value is not None}
        return validated(lambda: Settings(**values), lambda names: (f"--{names[0]}", None))


def resident(settings: Settings) -> Settings:
    """For a process that stays: it waits for an S3 server that is away, unless it was told not to.

    Who sits before a terminal wants to hear of an outage; a worker's work is worth half an hour.
    """
    if "patience" in settings.s3.model_fields_set:
        return settings
    patient = settings.s3.model_copy(update={"patience": RESIDENT_PATIENCE})
    return settings.model_copy(update={"s3": patient})
