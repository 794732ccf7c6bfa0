"""Podman with a state of its own below one folder, and a base image without a registry.

What a machine has of images, containers and networks is neither seen nor touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE = "localhost/kontext-base:trial"
TARGETS = ("slim", "worker", "s3", "postgres")
PROGRAMS = ("podman", "runc", "mmdebstrap", "iptables")
# Debian without systemd, where control groups are of the old kind or both (crun refuses those).
CONFIG = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
STORAGE = """
[storage]
driver = "overlay"
runroot = "{folder}/run"
graphroot = "{folder}/storage"
"""


class Podman:
    """``with Podman(folder) as podman``; whatever it made ends with it, but for images."""

    def __init__(self, folder: Path, project: str) -> None:
        self.folder = folder
        self.project = project
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "containers.conf").write_text(CONFIG.format(folder=folder))
        (folder / "storage.conf").write_text(STORAGE.format(folder=folder))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not ours(name)},
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "TMPDIR": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def __enter__(self) -> Podman:
        return self

    def __exit__(self, *ended: object) -> None:
        names = self("ps", "-aq", "--filter", f"label=io.podman.compose.project={self.project}")
        if names:
            self("rm", "-f", "-t", "5", *names.split(), check=False)
        self("volume", "prune", "-f", check=False)

    def __call__(
        self, *arguments: object, check: bool = True, seconds: float = 1800, quiet: bool = True
    ) -> str:
        """What ``podman …`` printed; with ``check`` it must have gone well."""
        return self.run("podman", *arguments, check=check, seconds=seconds, quiet=quiet)

    def run(
        self,
        *arguments: object,
        check: bool = True,
        seconds: float = 1800,
        quiet: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        done = subprocess.run(
            list(map(str, arguments)),
            cwd=ROOT,
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode:
            shown = " ".join(map(str, arguments))
            raise RuntimeError(f"{shown}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    # --- images

    def make_base(self) -> None:
        """Debian with Python, by the system's own package sources."""
        if self("images", "-q", BASE):
            return
        tar = self.folder / "base.tar"
        include = "--include=ca-certificates,python3,python3-venv"
        self.run("mmdebstrap", "--quiet", "--variant=minbase", include, "bookworm", tar)
        self("import", "-q", tar, BASE)
        tar.unlink()

    def build(self, target: str) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        with self._pip() as options:
            self(
                *("build", "--isolation", "chroot", "--network", "host", "--format", "docker"),
                *("--layers", "-f", "docker/Dockerfile", "--target", target),
                *("--build-arg", f"BASE={BASE}", "-t", f"localhost/kontext-{target}:trial"),
                *options,
                ".",
            )
        return time.monotonic() - began

    @contextlib.contextmanager
    def _pip(self) -> Iterator[list[str]]:
        """How pip asks on this machine, as secrets; folders that it looks into, for reading."""
        said = self.run(sys.executable, "-m", "pip", "config", "list")
        settings: dict[str, str] = {}
        # As pip does: the environment goes before a file, a command's section before the general.
        for line in sorted(said.splitlines(), key=lambda line: line.startswith("global.")):
            name, _, value = line.partition("=")
            settings.setdefault(name.rpartition(".")[2], value.strip("'\""))
        lines, folders = ["[global]"], []
        for key in sorted(settings.keys() - {"constraint", "cert"}):
            lines.append(f"{key} = {settings[key]}")
            for place in settings[key].split():
                # A local index leads to files beside it.
                folder = (
                    Path(place) if place[0] == "/" else Path(place.removeprefix("file://")).parent
                )
                folders += [folder] if folder.is_absolute() and folder.is_dir() else []
        certificates = Path("/etc/ssl/certs/ca-certificates.crt")
        options = []
        if certificates.exists():
            lines.append("cert = /run/secrets/ca")
            options += ["--secret", f"id=ca,src={certificates}"]
        secret = self.folder / "pip.conf"
        secret.touch(0o600)
        secret.write_text("\n".join(lines) + "\n")
        options += ["--secret", f"id=pip,src={secret}"]
        for folder in dict.fromkeys(folders):
            options += ["--volume", f"{folder}:{folder}:ro"]
        try:
            yield options
        finally:
            secret.unlink()

    def size(self, image: str) -> int:
        return int(self("image", "inspect", "--format", "{{.Size}}", image))

    # --- containers

    def pid(self, name: str) -> int:
        """The main process as this machine numbers it; 0 when the container does not run."""
        state = json.loads(self("inspect", "--format", "{{json .State}}", name))
        return int(state["Pid"]) if state["Status"] == "running" else 0

    def healthy(self, name: str) -> bool:
        """Nobody runs health checks where there is no systemd: so it is run here."""
        done = subprocess.run(
            ["podman", "healthcheck", "run", name],
            env=self.environment,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0


def ours(name: str) -> bool:
    """Whether a variable would say something else to what is under test."""
    return name.startswith(("KONTEXT_", "PREFECT_", "AWS_", "S3_", "POSTGRES_"))


def lacking() -> list[str]:
    """Programs that are not on this machine."""
    return [
        name for name in PROGRAMS if not (shutil.which(name) or Path("/usr/sbin", name).exists())
    ]
