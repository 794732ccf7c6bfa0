"""Imports run in one direction, and the heavy libraries are loaded only where they may be.

Two views of it: what each file says (its syntax tree, lazy imports included), and what importing
each module really loads (a fresh process of its own).
"""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("flows", "kontext_engine")
TORCH = {"torch", "diffusers", "transformers", "safetensors", "tokenizers", "accelerate"}
S3 = {"boto3", "botocore"}
# The engine's vocabulary, and what a planner or a test of the pipeline needs besides.
TORCH_FREE = {
    f"kontext_engine{name}"
    for name in (
        "", ".api", ".calllog", ".catalogue", ".cutout", ".digest", ".errors", ".fake", ".files",
        ".folder", ".geometry", ".judges", ".judges.legible", ".judges.preserved",
        ".judges.sharpness", ".numerics", ".picture", ".picture.formats", ".picture.header",
        ".picture.jpegxl", ".picture.placing", ".picture.profile", ".picture.reading",
        ".picture.samples", ".prepare", ".recent", ".region", ".saliency", ".spec", ".textlength",
    )
}  # fmt: skip
PIPELINES_MAY = {"kontext_engine.bench"}


def module_files():
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = path
    return found


MODULES = module_files()


def imports(path):
    """(imported module, names taken from it, whether at the module's top level), for a file."""
    tree = ast.parse(path.read_text("utf-8"))
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or for_types_only(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, (), id(node) not in lazy
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module, tuple(alias.name for alias in node.names), id(node) not in lazy


def for_types_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def root(module):
    return module.partition(".")[0]


def importers(libraries):
    """The modules whose files import any of these libraries, at any level."""
    return {
        name
        for name, path in MODULES.items()
        if any(root(imported) in libraries for imported, _, _ in imports(path))
    }


def test_the_engine_knows_no_pipeline():
    offenders = importers({"flows", "prefect"} | S3)
    assert {name for name in offenders if root(name) == "kontext_engine"} == set()


def test_flows_never_imports_torch_even_lazily():
    assert {name for name in importers(TORCH) if root(name) == "flows"} == set()


def test_boto3_is_imported_in_two_files_of_the_store_at_most():
    assert importers(S3) <= {"flows.store.boto", "flows.store.signed"}


def schedules(name):
    return name.startswith("flows.scheduling.")


def test_prefect_is_imported_only_where_runs_are_scheduled():
    assert {name for name in importers({"prefect"}) if not schedules(name)} == set()


def test_flows_takes_only_the_torch_free_vocabulary_at_its_top_level():
    for name, path in MODULES.items():
        if root(name) == "flows":
            eager = {module for module, _, top in imports(path) if top}
            engine = {module for module in eager if root(module) == "kontext_engine"}
            assert engine <= TORCH_FREE, name


def test_no_pipeline_class_of_diffusers_outside_the_benchmark():
    for name in set(MODULES) - PIPELINES_MAY:
        for module, names, _ in imports(MODULES[name]):
            if root(module) == "diffusers":
                assert not module.startswith("diffusers.pipelines"), name
                assert not any(taken.endswith("Pipeline") for taken in names), name
        calls = ast.walk(ast.parse(MODULES[name].read_text("utf-8")))
        attributes = {node.attr for node in calls if isinstance(node, ast.Attribute)}
        assert not any(attribute.endswith("Pipeline") for attribute in attributes), name
    assert importers({"diffusers"}) >= PIPELINES_MAY


# A child of its own for each module, forked from a process that has loaded nothing but `base`:
# as fresh as a new interpreter, without paying for it (or, where torch may come, for torch) again.
PROBE = """
import importlib, json, os, sys
base, names, watched = json.loads(sys.argv[1])
for name in base:
    importlib.import_module(name)
for name in names:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
            answer = sorted(watched_ for watched_ in watched if watched_ in sys.modules)
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        print(json.dumps([name, json.loads(stream.read() or '"died"')]))
    os.waitpid(child, 0)
"""


def loaded(base, names, watched):
    """Which of the watched modules importing each name loads (or the error it ends in)."""
    given = json.dumps([sorted(base), sorted(names), sorted(watched)])
    result = subprocess.run(
        [sys.executable, "-c", PROBE, given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return dict(json.loads(line) for line in result.stdout.splitlines())


# A __main__ module is run, not imported.
IMPORTABLE = {name for name in MODULES if not name.endswith(".__main__")}
LIGHT = {name for name in IMPORTABLE if root(name) == "flows" or name in TORCH_FREE}
HEAVY = IMPORTABLE - LIGHT
# Allowed there, and seconds each to load anew: loaded once, before forking.
HEAVY_BASE = {
    "torch",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.transformers.transformer_flux",
    "transformers",
}


LIGHT_BASE = {"jinja2", "numpy", "PIL.Image", "pydantic", "rich.console", "typer", "yaml"}
PLANNING = "flows.plan.plan"
PREFECT_BASE = {"prefect.flow_engine", "prefect.workers.base"}


@pytest.fixture(scope="module")
def light():
    # What most of them load is loaded before: what must not be among it would be found in each.
    watched = TORCH | S3 | {"prefect", "flows", "kontext_engine.engine"}
    engine = {name for name in LIGHT if root(name) == "kontext_engine"}
    scheduling = {name for name in LIGHT if schedules(name)}
    return (
        loaded(LIGHT_BASE, engine, watched)
        | loaded(LIGHT_BASE | {PLANNING}, LIGHT - engine - scheduling, watched)
        | loaded(LIGHT_BASE | {PLANNING, *PREFECT_BASE}, scheduling, watched)
    )


def test_every_light_module_imports(light):
    assert set(light) == LIGHT
    assert {name: error for name, error in light.items() if isinstance(error, str)} == {}


def test_importing_a_light_module_loads_no_torch(light):
    forbidden = TORCH | {"kontext_engine.engine"}
    assert {name: found for name, found in light.items() if forbidden & set(found)} == {}


def test_importing_loads_prefect_and_boto3_only_where_they_are_used(light):
    with_prefect = {name for name, found in light.items() if "prefect" in found}
    assert {name for name in with_prefect if not schedules(name)} == set()
    with_boto3 = {name for name, found in light.items() if S3 & set(found)}
    assert all(name.startswith("flows.store.") for name in with_boto3)


def test_importing_the_engine_loads_no_flows_and_no_prefect():
    # Not boto3: accelerate, which diffusers loads, takes it where it is installed.
    found = loaded(HEAVY_BASE, HEAVY, {"flows", "prefect"})
    assert found == {name: [] for name in HEAVY}


def test_the_probe_can_fail():
    found = loaded([], ["json", "no_such_module"], ["json", "torch"])
    assert found["json"] == ["json"]
    assert found["no_such_module"].startswith("ModuleNotFoundError")
