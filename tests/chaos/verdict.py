"""The verdict, read from S3 alone, by a client that knows nothing of the pipeline's store."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from botocore.exceptions import ClientError
from PIL import Image

from flows.plan.step import Plan
from flows.run.manifest import Manifest
from flows.run.pipeline import RunRequest, plan_recipe
from flows.settings import Settings
from flows.store.local import LocalStore
from flows.store.record import Record, RecordError, decode_record
from tests.servers.seaweed import Seaweed, admin_client

# Contract 4 in float32: at most one level of 255, in at most 0.1 % of values.
MOST_LEVELS, MOST_SHARE = 1, 0.001

RECIPES = Path(__file__).parents[2] / "recipes"


def planned(recipe: str, *overrides: str, only: Iterable[str] = ()) -> Plan:
    """What was ordered, planned anew and without any of the processes under test."""
    request = RunRequest(
        RECIPES / f"{recipe}.yaml", sets=overrides, only=tuple(only), settings=Settings()
    )
    return plan_recipe(request)


@dataclass(frozen=True)
class Verdict:
    """``lost`` and ``corrupt`` hold one line for each fault; ``left`` leases that are left."""

    lost: tuple[str, ...]
    corrupt: tuple[str, ...]
    left: tuple[str, ...]
    quarantined: int

    @property
    def good(self) -> bool:
        return not (self.lost or self.corrupt or self.left)


class Home:
    """A prefix of a bucket, looked at with plain boto3."""

    def __init__(self, server: Seaweed, bucket: str, prefix: str) -> None:
        self._s3 = admin_client(server)
        self._bucket, self._prefix = bucket, f"{prefix}/"

    def _listed(self, below: str) -> Iterator[dict]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + below
        )
        return (one for page in pages for one in page.get("Contents", ()))

    def names(self, below: str = "") -> list[str]:
        return [one["Key"].removeprefix(self._prefix) for one in self._listed(below)]

    def versions(self, below: str) -> dict[str, str]:
        """Each object and when it was last changed."""
        return {one["Key"]: f"{one['ETag']} {one['LastModified']}" for one in self._listed(below)}

    def get(self, name: str) -> bytes | None:
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return answer["Body"].read()

    def remove(self, name: str) -> None:
        self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def _of(self, plan: Plan) -> tuple[str, Manifest] | None:
        # The newest first, by the dates that they begin with: of a night there may be two.
        for name in sorted(self.names("runs/"), reverse=True):
            if name.endswith("/manifest.json"):
                data = self.get(name)
                if data is not None and json.loads(data)["plan"] == plan.digest:
                    return name.split("/")[1], Manifest.model_validate_json(data)
        return None

    def manifest(self, plan: Plan) -> Manifest | None:
        """The manifest of the run of this plan."""
        found = self._of(plan)
        return None if found is None else found[1]

    def run(self, plan: Plan) -> str | None:
        """The name of its folder."""
        found = self._of(plan)
        return None if found is None else found[0]

    def picture(self, key: str) -> np.ndarray:
        """8-bit RGB values (height, width, 3) of a key's picture."""
        record = decode_record(self.get(f"records/{key}") or b"", key)
        return pixels(self.get(f"blobs/{record.blob}") or b"")

    def judge(self, plan: Plan) -> Verdict:
        """Every planned key has a sound record and blob, every output is written, all is over."""
        lost, corrupt = [], []
        for key, step in plan.steps.items():
            kind, text = self._fault(key)
            if text:
                (lost if kind == "lost" else corrupt).append(f"{step.label}: {text}")
        found = self._of(plan)
        if found is None:
            lost.append("there is no manifest")
        else:
            run, manifest = found
            if not manifest.whole:
                lost.append(f"the manifest says {manifest.ending.value}: {manifest.why}")
            if {step.key for step in manifest.steps} != set(plan.steps):
                lost.append("the manifest has other steps than the plan")
            if len(manifest.outputs) != len(plan.outputs):
                lost.append("the manifest has other outputs than the plan")
            for output in manifest.outputs:
                data = self.get(f"runs/{run}/{output.path}")
                if data is None:
                    lost.append(f"{output.path} is not there")
                elif hashlib.sha256(data).hexdigest() != output.sha256:
                    corrupt.append(f"{output.path} is not what the manifest says")
            if self.get(f"runs/{run}/report.html") is None:
                lost.append("there is no report")
        left = tuple(self.names("leases/"))
        return Verdict(tuple(lost), tuple(corrupt), left, len(self.names("quarantine/")))

    def _fault(self, key: str) -> tuple[str, str]:
        data = self.get(f"records/{key}")
        if data is None:
            return "lost", "no record"
        try:
            record: Record = decode_record(data, key)
        except RecordError as error:
            return "corrupt", f"the record {error}"
        blob = self.get(f"blobs/{record.blob}")
        if blob is None:
            return "lost", "no blob"
        if hashlib.sha256(blob).hexdigest() != record.blob or len(blob) != record.size:
            return "corrupt", "the blob is another"
        if pixels(blob).shape != (record.height, record.width, 3):
            return "corrupt", "the picture has another size"
        return "", ""


def apart(home: Home, keys: Iterable[str], folder: Path) -> tuple[int, float]:
    """How far the pictures are from those of a local run in ``folder``: the largest difference in
    levels of 255, and the share of values that differ at all."""
    local = LocalStore(folder)
    far = []
    for key in keys:
        record = local.find(key)
        assert record is not None, f"the local run lacks {key}"
        far.append(np.abs(home.picture(key) - pixels(local.read(record))).ravel())
    difference = np.concatenate(far)
    return int(difference.max()), float((difference > 0).mean())


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), np.int16)
