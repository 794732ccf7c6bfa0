"""The sections of the settings, and what all of them have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from kontext_engine.geometry import MAX_PIXELS

CREDENTIALS = (
    "expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, a profile in "
    "~/.aws or a role; remove it here"
)


def wrong(text: str, at: str = "") -> PydanticCustomError:
    """A mistake told in our own words; ``at`` names the field when a whole section is checked."""
    return PydanticCustomError("kontext", "{text}", {"text": text, "at": at})


def split(value: Any) -> Any:
    """A variable holds a list as names between commas."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def home(value: Any) -> Any:
    """A path that begins with ~ as the whole path that it is."""
    return str(Path(value).expanduser()) if isinstance(value, str) and value[:1] == "~" else value


def web_address(value: str) -> str:
    """``value``, if it is a plain http address without a secret in it."""
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


# What ``load`` looks for at a field: a path in kontext.toml begins at that file's folder, and an
# option of the command line says the same.
BEGINS_AT_FILE: dict[str, Any] = {"begins_at_file": True}


def said_by(name: str, **more: Any) -> dict[str, Any]:
    """The mark of a setting that an option of the command line says, too."""
    return {"flag": name, **more}


FilePath = Annotated[Path, BeforeValidator(home)]


class Section(BaseModel):
    """A part of the settings: unknown names are mistakes, values are frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic would read true as 1.
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in get_args(wanted):
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
    ca_bundle: Annotated[str, BeforeValidator(home)] | None = Field(
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
    """Bytes; larger objects are replaced in such parts. A new one goes up in one request."""
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
        return None if value is None else web_address(value)

    @model_validator(mode="after")
    def _key_needs_kms(self) -> Self:
        if self.kms_key is not None and not (self.encryption or "").startswith("aws:kms"):
            text = "is given without KMS; expected encryption = 'aws:kms' beside it; add it"
            raise wrong(text, at="kms_key")
        return self


class InputSettings(Section):
    """What a recipe may read, and where objects that were read are kept."""

    schemes: Annotated[tuple[Literal["file", "s3"], ...], BeforeValidator(split)] = ("file", "s3")
    """Where inputs may come from."""
    roots: Annotated[tuple[FilePath, ...], BeforeValidator(split)] = Field(
        default=(), json_schema_extra=BEGINS_AT_FILE
    )
    """Folders that may be read beside the recipe's and the current one."""
    buckets: Annotated[tuple[str, ...], BeforeValidator(split)] = ()
    """Buckets that may be read beside the store's own: BUCKET or BUCKET/PREFIX."""
    max_bytes: int = Field(default=256 * 2**20, ge=1)
    """Bytes; a larger object is refused before it is downloaded."""
    max_pixels: int = Field(default=MAX_PIXELS, ge=1)
    """A picture of more is refused unopened."""
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


class DeliverySettings(Section):
    """What delivered files tell of themselves, and what they are signed with."""

    metadata: Literal["full", "credit", "none"] = "full"
    """What files tell, where their output does not say: full (prompt, seed, model and key too),
    credit (who and what made them) or none.
    """
    creator: str = Field(default="", max_length=500)
    """Whom files name as their creator."""
    certificate: FilePath | None = Field(default=None, json_schema_extra=BEGINS_AT_FILE)
    """A PEM file, the signer's certificate first, then its authorities': files are signed with it
    (C2PA).
    """
    key_file: FilePath | None = Field(default=None, json_schema_extra=BEGINS_AT_FILE)
    """The PEM file of that certificate's private key; who encodes files needs it, nobody else."""


class WorkerSettings(Section):
    """How ``kontext worker`` is started; what is ``None`` is left to the machine."""

    serve: Literal["chunks", "parents", "both"] = Field(
        default="both", json_schema_extra=said_by("--serve")
    )
    """chunks: pictures, on engines; parents: recipes and nights, which need none."""
    name: str | None = Field(default=None, min_length=1, json_schema_extra=said_by("--name"))
    """What Prefect calls it; default: the host's name."""
    engines: int | None = Field(default=None, ge=1, json_schema_extra=said_by("--engines"))
    """Engine processes; default: one for each GPU, or 1."""
    threads: int | None = Field(default=None, ge=1, json_schema_extra=said_by("--threads"))
    """Threads of each engine on the CPU; default: all."""
    models: Annotated[tuple[str, ...], BeforeValidator(split)] = Field(
        default=(), json_schema_extra=said_by("--model")
    )
    """Models to serve, by name or folder; default: all on this machine."""


class NightSettings(Section):
    """What ``kontext deploy`` makes of a night; what is ``None`` stays as it is deployed."""

    cron: str | None = Field(default=None, json_schema_extra=said_by("--cron"))
    """When it starts, such as 0 22 * * *; empty in the file: never."""
    time_zone: str | None = Field(default=None, json_schema_extra=said_by("--time-zone"))
    """Of its schedule, such as Europe/Berlin; at first UTC."""
    recipes: str | None = Field(default=None, json_schema_extra=said_by("--nightly"))
    """Its recipes: a folder of those that parents' workers have, or s3://bucket/prefix."""
    deadline: float | None = Field(default=None, ge=0, json_schema_extra=said_by("--deadline"))
    """Hours; what it has not begun by then stays undone. 0: none."""
    concurrency: int | None = Field(default=None, ge=1, json_schema_extra=said_by("--concurrency"))
    """Recipes at once; at first 4."""
    notify: str | None = Field(default=None, json_schema_extra=said_by("--notify"))
    """The notification block of Prefect's that tells of nights, as TYPE/NAME; empty: nobody."""
    notify_report: bool | None = Field(default=None, json_schema_extra=said_by("--notify-report"))
    """With that: reports' links, too, which whoever has them can open."""
