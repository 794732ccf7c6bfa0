"""``docker/`` as the tests read it: services, manifests, and the environment each process gets."""

from __future__ import annotations

import re
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text("utf-8")
COMPOSE = (DOCKER / "compose.yaml").read_text("utf-8")
# ${NAME}, ${NAME:-default}, ${NAME:?what is said without it}
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def filled(node: Any, values: dict[str, str]) -> Any:
    """Compose's interpolation, of each text in what was read: an empty value counts as none."""
    if isinstance(node, dict):
        return {name: filled(inner, values) for name, inner in node.items()}
    if isinstance(node, list):
        return [filled(inner, values) for inner in node]
    if not isinstance(node, str):
        return node

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if values.get(name):
            return values[name]
        if kind == "?":
            raise KeyError(f"{name} {rest}")
        return rest or ""

    return VARIABLE.sub(value, node)


def make_env(folder: Path) -> dict[str, str]:
    """What the shipped command writes for a new host."""
    subprocess.run(["sh", DOCKER / "make-env.sh", folder / "env"], check=True, capture_output=True)
    lines = (folder / "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def services(values: dict[str, str]) -> dict[str, Any]:
    """Compose's services under an ``.env``."""
    return filled(yaml.safe_load(COMPOSE), values)["services"]


@lru_cache(maxsize=1)
def manifests() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Each object of the folder with its file's name."""
    return tuple(
        (path.name, document)
        for path in sorted((DOCKER / "kubernetes").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text("utf-8"))
    )


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    """Objects by name."""
    return {one["metadata"]["name"]: one for _, one in manifests() if one["kind"] in kinds}


def pods() -> dict[str, dict[str, Any]]:
    """Each pod's template by the name of what makes it."""
    found = {name: one["spec"]["template"] for name, one in of_kind("Deployment", "Job").items()}
    for name, one in of_kind("CronJob").items():
        found[name] = one["spec"]["jobTemplate"]["spec"]["template"]
    return found


def container(name: str) -> dict[str, Any]:
    """The one container of a pod."""
    (one,) = pods()[name]["spec"]["containers"]
    return one


def environment(name: str) -> dict[str, str]:
    """A container's variables as far as they are no secrets."""
    found: dict[str, str] = {}
    for source in container(name).get("envFrom", ()):
        if "configMapRef" in source:
            found |= of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"]
    return found | {
        one["name"]: one["value"] for one in container(name).get("env", ()) if "value" in one
    }


def image_variables(target: str) -> dict[str, str]:
    """What the Dockerfile's stages set for a target, the nearest last."""
    stages = {
        name: (base, body)
        for base, name, body in re.findall(
            r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL
        )
    }
    base, body = stages[target]
    said = "".join(re.findall(r"^ENV ((?:.*\\\n)*.*\n)", body, re.MULTILINE)).replace("\\\n", " ")
    before = image_variables(base) if base in stages else {}
    return before | dict(part.split("=", 1) for part in said.split())
