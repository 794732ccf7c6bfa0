"""``make docker-test``: the images built, compose's services started, one run through them.

While the run goes on, each container's main process is killed once with -9. At the end everything
is there, nothing is damaged, and the figures are printed. As root on Linux; podman, runc,
mmdebstrap, iptables and podman-compose do it. About 15 GB and an hour at most.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.docker.podman import ROOT, TARGETS, Podman, lacking

SERVICES = ("postgres", "prefect", "s3", "parents", "worker")
ROOM = 15 * 10**9  # bytes
LIMIT = 3600.0  # seconds for all of it
LOCKED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--memory", "3g")
SHARED = "/opt/kontext/share/kontext/recipes"
RECIPE = f"{SHARED}/product-backgrounds.yaml"
SETS = ("--set", "defaults.steps=12")


class Trial:
    """One after another; ``figures`` are told at the end."""

    def __init__(self, podman: Podman, port: int) -> None:
        self.podman = podman
        self.port = port
        self.began = time.monotonic()
        self.figures: list[tuple[str, str]] = []
        self.env = podman.folder / "trial.env"

    def step(self, text: str) -> None:
        spent = time.monotonic() - self.began
        print(f"[{spent:6.0f} s] {text}", flush=True)
        if spent > LIMIT:
            raise TimeoutError(f"more than {LIMIT / 60:.0f} minutes")

    def note(self, what: str, figure: str) -> None:
        self.figures.append((what, figure))
        self.step(f"{what}: {figure}")

    def timed(self, what: str, act: Callable[[], object]) -> None:
        began = time.monotonic()
        act()
        self.note(what, f"{time.monotonic() - began:.1f} s")

    def until(self, what: str, true: Callable[[], bool], seconds: float = 600) -> None:
        began = time.monotonic()
        while not true():
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{what}: not within {seconds:.0f} s\n{self.logs()}")
            time.sleep(1)
        self.note(what, f"{time.monotonic() - began:.1f} s")

    def logs(self) -> str:
        """The end of what each service said."""
        said = []
        for service in SERVICES:
            command = ["podman", "logs", "--tail", "15", self.name(service)]
            done = subprocess.run(
                command,
                env=self.podman.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            said.append(f"--- {service}\n{done.stdout}")
        return "\n".join(said)

    # --- images

    def images(self) -> None:
        self.timed("base image made", self.podman.make_base)
        for target in TARGETS:
            seconds = self.podman.build(target)
            size = self.podman.size(f"localhost/kontext-{target}:trial")
            self.note(f"image {target}", f"{size / 1e6:,.0f} MB, built in {seconds:.0f} s")

    def once(self, target: str, *command: str, network: str = "none", **more: str) -> str:
        """What a command prints in a container of its own, locked up as services are."""
        variables = [part for name, value in more.items() for part in ("-e", f"{name}={value}")]
        image = f"localhost/kontext-{target}:trial"
        return self.podman(
            "run", "--rm", "--network", network, *LOCKED, *variables, image, *command
        )

    def look(self) -> None:
        """What must be in the images, and what must not."""
        for target in TARGETS:
            found = self.podman("image", "inspect", f"localhost/kontext-{target}:trial")
            image = json.loads(found)[0]
            config = image["Config"]
            assert config["User"] == "10001:10001", target
            assert "org.opencontainers.image.version" in config["Labels"], target
            assert image["Healthcheck"]["Test"], target
            history = self.podman("history", "--no-trunc", f"localhost/kontext-{target}:trial")
            assert "/run/secrets" not in found, target
            assert "index-url =" not in history, target
        weights = "find / -xdev -name '*.safetensors' -o -xdev -type d -name torch | wc -l"
        assert self.once("slim", "sh", "-c", weights) == "0"
        script = (
            "import kontext_engine.catalogue as c; print(c.resolve_model('kontext-mini').digest)"
        )
        digests = {self.once(one, "python3", "-c", script) for one in ("slim", "worker")}
        assert len(digests) == 1, "slim and worker name other weights"
        self.once("slim", "kontext", "check", RECIPE)
        planned = json.loads(
            self.once("slim", "kontext", "plan", RECIPE, "--json", KONTEXT_STORE="/tmp/out")
        )
        assert planned["total"] > 0
        assert {planned["model"]["digest"]} == digests
        # Without a checkout, a server or a network.
        only = ("--only", "product=backpack")
        self.timed(
            "kontext run in the worker image, 5 pictures",
            lambda: self.once("worker", "kontext", "run", RECIPE, *only, "--out", "/tmp/out"),
        )
        extras = (ROOT / "tests" / "docker" / "extras.py").read_text("utf-8")
        self.note("the worker's extras", self.once("worker", "python3", "-c", extras))
        self.once("slim", "python3", "-c", "import c2pa, cryptography, pillow_heif, pillow_jxl")
        self.step("images hold what they should, and no more")

    # --- services

    def compose(self, *arguments: str, check: bool = True, env: bool = True) -> str:
        options = ("--env-file", str(self.env)) if env else ()
        # podman-compose reads docker/.env by itself where it is told of no other.
        return self.podman.run(
            *(sys.executable, "-m", "podman_compose", "-p", self.podman.project, *options),
            *("-f", str(ROOT / "docker" / "compose.yaml"), "--profile", "cpu", *arguments),
            check=check,
        )

    def name(self, service: str) -> str:
        return f"{self.podman.project}_{service}_1"

    def start(self) -> None:
        for target in TARGETS:
            self.podman(
                "tag", f"localhost/kontext-{target}:trial", f"localhost/kontext-{target}:{self.tag}"
            )
        self.podman.run("sh", ROOT / "docker" / "make-env.sh", self.env)
        text = self.env.read_text().replace("PREFECT_PORT=4200", f"PREFECT_PORT={self.port}")
        text = text.replace("S3_PORT=8333", f"S3_PORT={self.port + 1}")
        text = text.replace(":8333", f":{self.port + 1}").replace(":4200", f":{self.port}")
        text += f"TAG={self.tag}\nBASE=localhost/kontext-base:trial\n"
        self.env.write_text(text)
        self.variables = dict(
            line.split("=", 1) for line in text.splitlines() if "=" in line and line[0] != "#"
        )
        self.timed("compose up", lambda: self.compose("up", "-d", "--no-build"))
        for service in SERVICES:
            self.until(
                f"healthy after that: {service}",
                lambda s=service: self.podman.healthy(self.name(s)),
            )
        self.until("deployed", self.deployed)
        for page in ("/", "/ui-settings"):
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}{page}", timeout=30).close()
        self.step("the dashboard answers")

    tag = "trial"

    def deployed(self) -> bool:
        state = json.loads(
            self.podman("inspect", "--format", "{{json .State}}", self.name("deploy"))
        )
        return state["Status"] == "exited" and state["ExitCode"] == 0

    def command(self, role: str, *command: str) -> list[str]:
        """A container that a person, or a role, runs a command in."""
        known = self.variables
        said = {
            "PREFECT_API_URL": "http://prefect:4200/api",
            "PREFECT_API_AUTH_STRING": known["PREFECT_SERVER_API_AUTH_STRING"],
            "KONTEXT_STORE": "s3://pictures/shots",
            "KONTEXT_S3__ENDPOINT_URL": known["KONTEXT_S3__ENDPOINT_URL"],
            "KONTEXT_S3__ADDRESSING": "path",
            "AWS_ACCESS_KEY_ID": known[f"S3_{role}_KEY"],
            "AWS_SECRET_ACCESS_KEY": known[f"S3_{role}_SECRET"],
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        file = self.podman.folder / f"{role.lower()}.env"
        file.touch(0o600)
        file.write_text("".join(f"{name}={value}\n" for name, value in said.items()))
        network = f"{self.podman.project}_default"
        return [
            *("podman", "run", "--rm", "--network", network, *LOCKED, "--env-file", str(file)),
            *("localhost/kontext-slim:trial", *command),
        ]

    def ask(self, role: str, *command: str) -> str:
        return self.podman.run(*self.command(role, *command))

    def strike(self) -> None:
        """Order a run, and kill each container's main process once before it has ended."""
        order = self.command("PEOPLE", "kontext", "run", RECIPE, *SETS, "--prefect")
        log = (self.podman.folder / "order.log").open("w+")
        began = time.monotonic()
        running = subprocess.Popen(
            order, env=self.podman.environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            self.until("first picture after the order", lambda: self.pictures() > 0)
            for service in ("worker", "parents", "s3", "prefect", "postgres"):
                assert running.poll() is None, f"the run ended before {service} was killed"
                before = self.podman.pid(self.name(service))
                os.kill(before, signal.SIGKILL)
                self.until(
                    f"killed, back and healthy: {service}",
                    lambda s=service, b=before: (
                        self.podman.pid(self.name(s)) not in {0, b}
                        and self.podman.healthy(self.name(s))
                    ),
                )
            code = running.wait(LIMIT - (time.monotonic() - self.began))
        finally:
            running.kill()
            log.seek(0)
            said = log.read()
        assert code == 0, f"the order ended with {code}\n{said}\n{self.logs()}"
        self.note("run with five kills, from order to end", f"{time.monotonic() - began:.0f} s")

    def pictures(self) -> int:
        """How many steps the worker says it has made."""
        script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9400/metrics').read().decode())"
        page = self.podman("exec", self.name("worker"), "python3", "-c", script, check=False)
        made = [
            line
            for line in page.splitlines()
            if line.startswith('kontext_steps_total{state="done"}')
        ]
        return int(float(made[0].split()[-1])) if made else 0

    def judge(self) -> None:
        """Everything is there once, and whole."""
        planned = json.loads(self.ask("PARENTS", "kontext", "plan", RECIPE, *SETS, "--json"))
        assert planned["done"] == planned["total"] > 0, (planned["done"], planned["total"])
        pull = (
            "kontext pull product-backgrounds /tmp/pulled && find /tmp/pulled -name '*.png' | wc -l"
        )
        pulled = self.ask("PEOPLE", "sh", "-c", pull).splitlines()[-1]
        verified = self.ask("COLLECTOR", "kontext", "gc", "--verify")
        assert "0 of them damaged" in verified, verified
        self.note("made and whole", f"{planned['done']} of {planned['total']} steps; {verified}")
        self.note("pulled with a person's key", f"{pulled} pictures")
        self.compose("--profile", "gc", "run", "--rm", "--no-deps", "gc")
        self.step("the clean-up ran with a key of its own")

    def end(self) -> None:
        for service in ("worker", "parents", "prefect", "s3", "postgres"):
            began = time.monotonic()
            self.podman("stop", "-t", "45", self.name(service))
            state = json.loads(
                self.podman("inspect", "--format", "{{json .State}}", self.name(service))
            )
            self.note(
                f"stopped: {service}",
                f"{time.monotonic() - began:.1f} s, exit code {state['ExitCode']}",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/kontext-docker-test"))
    parser.add_argument("--port", type=int, default=24200, help="and the next one")
    parser.add_argument("--keep", action="store_true", help="the images, for the next time")
    given = parser.parse_args()
    if os.geteuid() != 0 or (missing := lacking()):
        wanted = "root" if os.geteuid() != 0 else ", ".join(missing)
        sys.exit(f"docker-test needs {wanted}; apt-get install podman runc mmdebstrap iptables")
    given.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(given.folder).free
    if free < ROOM:
        sys.exit(f"{given.folder} has {free / 1e9:.0f} GB; expected {ROOM / 1e9:.0f} GB; free some")
    with Podman(given.folder, "kontext-trial") as podman:
        trial = Trial(podman, given.port)
        try:
            for part in (
                trial.images,
                trial.look,
                trial.start,
                trial.strike,
                trial.judge,
                trial.end,
            ):
                part()
        finally:
            used = free - shutil.disk_usage(given.folder).free
            trial.note("disk", f"{used / 1e9:.1f} GB")
            print("\n".join(f"{what:45} {figure}" for what, figure in trial.figures))
    if not given.keep:
        podman("system", "reset", "-f", check=False)
        shutil.rmtree(given.folder, ignore_errors=True)
    print("complete, nothing lost")


if __name__ == "__main__":
    main()
