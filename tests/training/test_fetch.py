"""Fetching the set: checked, whole or not at all, and only once."""

import hashlib
import io
import json
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from flows.cli import ExitCode, main
from kontext_engine.training import drawings
from kontext_engine.training import fetch as module
from kontext_engine.training.cutouts import read_set
from kontext_engine.training.drawings import draw_icons
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.fetch import Package, fetch_cutouts, npm_pack, set_digest
from tests.training.conftest import CUTOUTS

FILES = ("1f600.webp", "270d-fe0f.webp", "1f3f4-e0067_e0062_e0065.webp")
BODY = '<path fill="#0074ba" d="M0 0h32v16H0z"/>'
PICTURE = (CUTOUTS / "assets" / "1f642.webp").read_bytes()
LISTS = {
    "package/chars.json": {"1f600": "grinning-face", "270d": "writing-hand"},
    "package/metadata.json": {"categories": {"Smileys & Emotion": ["grinning-face"]}},
    "package/icons.json": {
        "prefix": "fluent-emoji-flat",
        "width": 32,
        "height": 32,
        "icons": {name: {"body": BODY} for name in ("grinning-face", "writing-hand")},
    },
}


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


class Registry:
    """Serves fabricated archives in place of npm and counts how often."""

    def __init__(self, folder, extra=None):
        folder.mkdir()
        pictures = {f"package/assets/{name}": PICTURE for name in FILES}
        pictures |= {"package/package.json": b"{}"} | (extra or {})
        names = {name: json.dumps(listing).encode() for name, listing in LISTS.items()}
        self.archives = [
            archive(folder / "p.tgz", pictures),
            archive(folder / "n.tgz", names),
        ]
        self.calls, self.drawn = 0, []

    def pack(self, package, folder):
        source = self.archives[package.name == "n"]
        self.calls += 1
        served = folder / source.name
        served.write_bytes(source.read_bytes())
        return served

    def draw(self, svg):
        self.drawn.append(svg)
        with io.BytesIO() as out:
            Image.new("RGBA", (4, 4), (10, 20, 30, 200)).save(out, "PNG")
            return out.getvalue()

    def expect(self, monkeypatch):
        """Let the module expect exactly what is served."""
        digests = [hashlib.sha512(path.read_bytes()).hexdigest() for path in self.archives]
        monkeypatch.setattr(module, "PICTURES", Package("p", "1.0.0", digests[0]))
        monkeypatch.setattr(module, "NAMES", Package("n", "1.0.0", digests[1]))
        monkeypatch.setattr(module, "INK", Package("n", "1.0.0", digests[1]))
        monkeypatch.setattr(module, "ASSETS", len(FILES))
        monkeypatch.setattr(drawings, "resvg", self.draw)
        reference = self.archives[0].parent / "reference"
        (reference / "assets").mkdir(parents=True)
        for name in FILES:
            (reference / "assets" / name).write_bytes(PICTURE)
        chars, metadata = LISTS["package/chars.json"], LISTS["package/metadata.json"]
        listing = {"chars": chars, "categories": metadata["categories"]}
        (reference / "names.json").write_text(json.dumps(listing))
        monkeypatch.setattr(module, "SET_DIGEST", set_digest(reference))


@pytest.fixture
def registry(tmp_path, monkeypatch):
    made = Registry(tmp_path / "registry")
    made.expect(monkeypatch)
    return made


def listed(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# What has a name is there in the other styles too.
WHOLE = sorted([
    "names.json", *(f"assets/{name}" for name in FILES),
    *(f"{style}/{name}" for style in ("flat", "ink") for name in FILES[:2]),
])  # fmt: skip


def test_a_set_is_fetched_once_and_can_be_read(registry, tmp_path):
    folder = tmp_path / "deep" / "cutouts"
    assert fetch_cutouts(folder, registry.pack)
    assert listed(folder) == WHOLE
    assert {c.name: c.category for c in read_set(folder)} == {
        "grinning-face": "Smileys & Emotion",
        "writing-hand": "?",
    }
    assert not fetch_cutouts(folder, registry.pack)
    assert registry.calls == 3
    assert len(registry.drawn) == 4
    assert all(BODY in svg and 'viewBox="0 0 32 32"' in svg for svg in registry.drawn)
    assert [p.name for p in folder.parent.iterdir()] == ["cutouts"]


@pytest.mark.parametrize("damage", ["missing", "changed", "extra", "names", "undrawn"])
def test_a_damaged_set_is_fetched_again(damage, registry, tmp_path):
    folder = tmp_path / "cutouts"
    fetch_cutouts(folder, registry.pack)
    target = folder / ("names.json" if damage == "names" else f"assets/{FILES[0]}")
    if damage == "undrawn":
        (folder / "ink" / FILES[0]).unlink()
    elif damage == "missing":
        target.unlink()
    elif damage == "extra":
        (folder / "assets" / "ff.webp").write_bytes(PICTURE)
    else:
        target.write_bytes(target.read_bytes() + b" ")
    assert fetch_cutouts(folder, registry.pack)
    assert listed(folder) == WHOLE
    assert set_digest(folder) == module.SET_DIGEST


def test_a_folder_with_anything_else_is_never_touched(registry, tmp_path):
    folder = tmp_path / "home"
    (folder / "assets").mkdir(parents=True)
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(TrainingError) as error:
        fetch_cutouts(folder, registry.pack)
    assert str(error.value) == (
        f"{folder}: holds other files than a set of cut-outs; give an empty or new folder"
    )
    assert (folder / "letter.txt").read_text() == "dear"
    with pytest.raises(TrainingError, match="holds other files"):
        fetch_cutouts(folder / "letter.txt", registry.pack)
    assert registry.calls == 0


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        ("another archive", TrainingError, r"p@1\.0\.0: .* served something else"),
        ("interrupted", KeyboardInterrupt, None),
    ],
)
def test_a_fetch_that_fails_leaves_what_was_there(registry, tmp_path, how, error, told):
    fetch_cutouts(tmp_path / "cutouts", registry.pack)
    (tmp_path / "cutouts" / "names.json").write_text("{}")
    if how == "another archive":
        with registry.archives[0].open("ab") as file:
            file.write(b"\0")

    def pack(package, folder):
        if how == "interrupted" and package is module.NAMES:
            raise KeyboardInterrupt
        return registry.pack(package, folder)

    with pytest.raises(error, match=told):
        fetch_cutouts(tmp_path / "cutouts", pack)
    assert (tmp_path / "cutouts" / "names.json").read_text() == "{}"
    assert {p.name for p in tmp_path.iterdir()} == {"cutouts", "registry"}


def test_links_and_names_that_lead_elsewhere_are_passed_over(tmp_path, monkeypatch):
    hostile = {
        "package/assets/../../../escaped.webp": PICTURE,
        "/absolute.webp": PICTURE,
        "package/assets/1f601.webp": None,
        "package/assets/sub/1f602.webp": PICTURE,
        "package/assets/run.sh": b"#!/bin/sh",
    }
    registry = Registry(tmp_path / "registry", hostile)
    registry.expect(monkeypatch)
    fetch_cutouts(tmp_path / "a" / "cutouts", registry.pack)
    assert listed(tmp_path / "a") == [f"cutouts/{name}" for name in WHOLE]


def test_an_archive_that_grows_too_large_is_refused(registry, tmp_path, monkeypatch):
    for limit in ("_LARGEST", "_MOST"):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, len(PICTURE) - 1)
            with pytest.raises(TrainingError, match="larger than expected"):
                fetch_cutouts(tmp_path / "cutouts", registry.pack)
    assert not (tmp_path / "cutouts").exists()


def test_archives_of_another_set_are_refused(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ASSETS", 4)
    with pytest.raises(TrainingError) as error:
        fetch_cutouts(tmp_path / "cutouts", registry.pack)
    assert "gave 3 cut-outs that are not the 4 expected" in str(error.value)
    assert not (tmp_path / "cutouts").exists()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Puts a script of the given lines on PATH as the only npm."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", str(bin_folder))

    def write(*lines):
        script = bin_folder / "npm"
        script.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
        script.chmod(0o755)

    return write


def test_npm_packs_into_the_folder_given(npm, tmp_path):
    npm('echo "$@" > arguments', "echo data > lobehub-fluent-emoji-3d-1.1.0.tgz")
    into = tmp_path / "into"
    into.mkdir()
    made = npm_pack(module.PICTURES, into)
    assert made.read_text() == "data\n"
    assert made.parent == into
    words = (into / "arguments").read_text().split()
    assert words[:2] == ["pack", "@lobehub/fluent-emoji-3d@1.1.0"]
    assert "--ignore-scripts" in words


def run(*args):
    with pytest.raises(SystemExit) as exit_:
        main(args)
    return exit_.value.code


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            (),
            "npm: not found on PATH; the cut-outs come as npm packages: install Node.js "
            "(it brings npm), then run this again\n",
        ),
        (
            ("echo 'npm error code ENOTFOUND' >&2", "echo 'npm error getaddrinfo' >&2", "exit 1"),
            "npm could not fetch @lobehub/fluent-emoji-3d@1.1.0 (npm error code ENOTFOUND); check "
            "the network and npm's registry (`npm config get registry`), then run this again\n",
        ),
    ],
    ids=["no npm", "unreachable"],
)
def test_what_npm_cannot_do_is_one_line(npm, tmp_path, capsys, lines, told):
    if lines:
        npm(*lines)
    assert run("data", str(tmp_path / "cutouts")) == ExitCode.FAILED
    assert capsys.readouterr() == ("", told)
    assert {p.name for p in tmp_path.iterdir()} == {"bin"}


def test_an_npm_that_hangs_is_given_up(npm, tmp_path, monkeypatch):
    npm("exec /bin/sleep 20")
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with pytest.raises(TrainingError, match=r"\(no answer in 0 s\)"):
        npm_pack(module.PICTURES, tmp_path)


def test_data_says_whether_it_fetched_and_exports_the_held_out(
    registry, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(module, "npm_pack", registry.pack)
    folder = tmp_path / "cutouts"
    assert run("data", str(folder)) == ExitCode.DONE
    assert run("data", str(folder), "--held-out", str(tmp_path / "part")) == ExitCode.DONE
    assert capsys.readouterr().out == (
        f"{folder}: 3 cut-outs fetched\n{folder}: 3 cut-outs there already\n"
        f"{tmp_path / 'part'}: 1 cut-outs, held-out subjects and props\n"
    )
    (part,) = read_set(tmp_path / "part")
    assert part.name == "writing-hand"
    assert all(part.drawn(style).path.is_file() for style in ("flat", "ink"))


def test_an_icon_is_drawn_and_tones_that_a_style_lacks_are_their_subject():
    """By the real renderer: the upper half is blue, the lower is see-through."""
    files = {name: json.dumps(listing).encode() for name, listing in LISTS.items()}
    drawn = dict(draw_icons(files, ["1f600", "270d-1f3fd"]))
    assert [*drawn] == ["1f600", "270d-1f3fd"]
    picture = np.asarray(Image.open(io.BytesIO(drawn["270d-1f3fd"])))
    assert picture.shape == (drawings.EDGE, drawings.EDGE, 4)
    assert picture[40, 80].tolist() == [0, 0x74, 0xBA, 255]
    assert picture[120, 80, 3] == 0
    with pytest.raises(TrainingError, match="no icon of 1f9ff"):
        list(draw_icons(files, ["1f9ff"]))


def test_without_the_renderer_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(TrainingError, match=r"pip install kontext-pipeline\[drawings\]"):
        drawings.resvg("<svg/>")
