"""Imports run in one direction, and the heavy libraries are loaded only where they may be.

Two views of it: what each file says (its syntax tree, lazy imports included), and what importing
each module really loads (a fresh process of its own).
"""

import ast
import functools
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
        ".judges.sharpness", ".numerics", ".picture", ".picture.facts", ".picture.formats",
        ".picture.header", ".picture.jpegxl", ".picture.placing", ".picture.profile",
        ".picture.reading",
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


@functools.cache
def imports(path):
    """(imported module, names taken from it, whether at the module's top level), for a file."""
    return tuple(_imports(path))


def _imports(path):
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


# One fresh process imports many modules, one after the other: what all together do not load, none
# of them loads. (That each can be the first to be imported is held by tests/test_rooms.py: no
# circles.) Of each watched library it tells the module that loaded it first.
PROBE = """
import importlib, json, sys
names, watched = json.loads(sys.argv[1])
told = {}
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        told[name] = f"{type(error).__name__}: {error}"
    for library in watched:
        if library in sys.modules:
            told.setdefault(library, name)
print(json.dumps(told))
"""


def loaded(names, watched):
    """What importing modules loads of the watched libraries: by library, who loaded it first.

    And by module the error that its import ended in.
    """
    result = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([sorted(names), sorted(watched)])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


# A __main__ module is run, not imported.
IMPORTABLE = {name for name in MODULES if not name.endswith(".__main__")}
LIGHT = {name for name in IMPORTABLE if root(name) == "flows" or name in TORCH_FREE}
HEAVY = IMPORTABLE - LIGHT
SCHEDULING = {name for name in LIGHT if schedules(name)}
STORE = {name for name in LIGHT if name.startswith("flows.store.")}
NEVER = TORCH | {"kontext_engine.engine"}


@pytest.mark.parametrize(
    ("names", "watched"),
    [
        pytest.param(
            {name for name in LIGHT if root(name) == "kontext_engine"},
            NEVER | S3 | {"prefect", "flows"},
            id="the engine's vocabulary",
        ),
        pytest.param(
            LIGHT - SCHEDULING - STORE, NEVER | S3 | {"prefect"}, id="what plans and runs"
        ),
        pytest.param(STORE, NEVER | {"prefect"}, id="the store"),
        pytest.param(SCHEDULING, NEVER | S3, id="what schedules"),
        # Not boto3: accelerate, which diffusers loads, takes it where it is installed.
        pytest.param(HEAVY, {"flows", "prefect"}, id="the engine"),
    ],
)
def test_importing_loads_only_what_is_used(names, watched):
    assert names
    assert loaded(names, watched) == {}


def test_the_probe_can_fail():
    found = loaded(["json", "no_such_module"], ["json", "torch"])
    assert found["json"] == "json"
    assert found["no_such_module"].startswith("ModuleNotFoundError")
    assert "torch" not in found
