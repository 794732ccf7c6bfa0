"""Settings, all in one typed place: ``KONTEXT_*`` variables, then ``kontext.toml``, then these.

Credentials are not among them: boto3's own chain finds them (environment, profile, role).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class S3Settings(BaseModel):
    """How an S3 server is spoken to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint_url: str | None = Field(
        None, description="Another server than AWS: https://host:port."
    )
    region: str | None = Field(None, description="Default: what boto3 finds, else us-east-1.")
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto", description="path: https://host/bucket; virtual: https://bucket.host."
    )
    checksums: Literal["when_supported", "when_required"] = Field(
        "when_supported", description="when_required for servers that reject boto3's checksums."
    )
    ca_bundle: str | None = Field(None, description="A PEM file of authorities to trust over TLS.")
    encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        None, description="Server-side encryption to ask for."
    )
    kms_key: str | None = Field(None, description="The KMS key's id; only with aws:kms.")
    storage_class: str | None = Field(None, description="Such as INTELLIGENT_TIERING.")
    connect_timeout: float = Field(5.0, gt=0, description="Seconds.")
    read_timeout: float = Field(30.0, gt=0, description="Seconds without a byte.")
    attempts: int = Field(8, ge=1, le=50, description="Tries of one request, the first included.")
    part_size: int = Field(
        16 * 2**20, ge=5 * 2**20, description="Bytes; larger objects go up in such parts."
    )
    unconditional: Literal["refuse", "degrade"] = Field(
        "refuse",
        description="What to do on a server that ignores If-None-Match: refuse it, or go on with "
        "a warning and without protection against two writers of one key.",
    )
