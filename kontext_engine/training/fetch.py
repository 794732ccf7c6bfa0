"""Fetching the cut-outs once: three npm packages, checked by digest, unpacked into one folder.

The result is what ``cutouts.read_set`` reads: ``assets/*.webp`` from ``@lobehub/fluent-emoji-3d``,
``names.json`` and the drawings ``flat/*.webp`` from ``@iconify-json/fluent-emoji-flat``, and those
of ``ink/*.webp`` from ``@iconify-json/fluent-emoji-high-contrast`` (all MIT, Microsoft's Fluent
Emoji).
Nothing is executed: ``npm pack`` only downloads, from whichever registry npm is set up for.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kontext_engine.training.cutouts import DRAWN, read_set
from kontext_engine.training.drawings import draw_icons
from kontext_engine.training.errors import TrainingError

ASSETS = 3391
# SHA-256 over names.json and the assets' names and bytes, as `set_digest` computes it.
SET_DIGEST = "e1655c3f9c04c6d2b312cbd3a9e16bdbe6e93724faf1f172b761b98b7caf1849"
TIMEOUT = 600.0  # seconds for one download of at most 16 MB
_LARGEST = 16 << 20  # bytes a file of a package may have
_MOST = 64 << 20  # bytes a whole package may unpack to
_OF_A_SET = ("assets", *DRAWN, "names.json", "ATTRIBUTION.md")
_ASSET = re.compile(r"package/assets/([0-9a-f]+(?:[-_][0-9a-f]+)*\.webp)")


@dataclass(frozen=True, slots=True)
class Package:
    """An npm package of one version: its archive's name and SHA-512 never change."""

    name: str
    version: str
    sha512: str

    @property
    def spec(self) -> str:
        """As npm names it."""
        return f"{self.name}@{self.version}"


PICTURES = Package(
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    "5a5ab69554ad4e7afc043a48274a449d328ee0bb83c71a931214ef46d0f50cb4"
    "45d267bba207914232a87a10c75ee549d9069e720979c1106feb4954006de1ee",
)
NAMES = Package(
    "@iconify-json/fluent-emoji-flat",
    "1.2.6",
    "458e3b4603dbe3b7d8522cab03ae2c20e2f4f94534dacdbdb17a4d05b2104415"
    "253e57cd1532949990c4446bb10ecffbc8d196a9062fb9a4983353387d15e553",
)
INK = Package(
    "@iconify-json/fluent-emoji-high-contrast",
    "1.2.6",
    "7acaa164fa64ac5eec357dcdb0ba21f0a5bae28904aff6f3928ed636714ffaa4"
    "c9180a833c3623a74f76e72c6e8af5f2dc7b55401f318482aedfe36ad5bc97e7",
)

Pack = Callable[[Package, Path], Path]


def fetch_cutouts(folder: Path, pack: Pack | None = None) -> bool:
    """Make ``folder`` hold the whole set; whether anything had to be fetched.

    Args:
        folder: where the set goes; a damaged or partial set there is replaced.
        pack: downloads a package's archive into a folder and names the file; npm by default.

    Raises:
        TrainingError: npm is missing, the registry cannot be reached, an archive is not the
            expected one, or ``folder`` holds something else.
        OSError: no space or no rights.
    """
    pack = pack or npm_pack
    if folder.is_dir() and set_digest(folder) == SET_DIGEST and is_drawn(folder):
        return False
    with new_set(folder) as draft:
        archives = [(package, pack(package, draft.parent)) for package in (PICTURES, NAMES, INK)]
        pictures, flat, ink = (_checked(package, archive) for package, archive in archives)
        _unpack(draft, pictures, flat)
        count = sum(1 for _ in (draft / "assets").iterdir())
        if count != ASSETS or set_digest(draft) != SET_DIGEST:
            raise TrainingError(
                f"{folder}: the packages gave {count} cut-outs that are not the {ASSETS} expected; "
                "nothing was kept; please report this with `npm --version`"
            )
        stems = [cutout.path.stem for cutout in read_set(draft)]
        for style, archive in zip(DRAWN, (flat, ink), strict=True):
            (draft / style).mkdir()
            for stem, data in draw_icons(dict(_plain_files(archive)), stems):
                (draft / style / f"{stem}.webp").write_bytes(data)
    return True


def is_drawn(folder: Path) -> bool:
    """Whether every cut-out of a set is there in the other styles too."""
    return all(c.drawn(style).path.is_file() for c in read_set(folder) for style in DRAWN)


@contextmanager
def new_set(folder: Path) -> Iterator[Path]:
    """An empty set beside ``folder`` that takes its place when the block ends well.

    Interrupted or failed, it leaves what was there.

    Raises:
        TrainingError: ``folder`` holds something else than a set.
    """
    if folder.exists() and not (
        folder.is_dir() and {p.name for p in folder.iterdir()} <= set(_OF_A_SET)
    ):
        raise TrainingError(
            f"{folder}: holds other files than a set of cut-outs; give an empty or new folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        draft, former = Path(scratch) / "set", Path(scratch) / "former"
        (draft / "assets").mkdir(parents=True)
        yield draft
        if folder.exists():
            folder.rename(former)
        try:
            draft.rename(folder)
        except OSError:
            if former.exists():
                former.rename(folder)
            raise


def set_digest(folder: Path) -> str:
    """SHA-256 of a set of cut-outs: its names.json and every asset's name and bytes.

    Whatever is missing is left out, so that an incomplete set has another digest than a whole one.
    """
    total = hashlib.sha256()
    for path in (folder / "names.json", *sorted((folder / "assets").glob("*"))):
        if path.is_file():
            total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def npm_pack(package: Package, folder: Path) -> Path:
    """Download ``package`` with npm into ``folder``; the archive's path.

    Raises:
        TrainingError: npm is not installed, or could not fetch the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise TrainingError(
            "npm: not found on PATH; the cut-outs come as npm packages: install Node.js "
            "(it brings npm), then run this again"
        )
    command = [npm, "pack", package.spec, "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command line
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise TrainingError(_unreachable(package, f"no answer in {TIMEOUT:.0f} s")) from None
    made = sorted(folder.glob(f"*-{package.version}.tgz"), key=lambda p: p.stat().st_mtime_ns)
    if done.returncode != 0 or not made:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise TrainingError(_unreachable(package, said[0] if said else "npm said nothing"))
    return made[-1]


def _unreachable(package: Package, why: str) -> str:
    return (
        f"npm could not fetch {package.spec} ({why}); check the network and npm's registry "
        "(`npm config get registry`), then run this again"
    )


def _checked(package: Package, archive: Path) -> Path:
    found = hashlib.sha512(archive.read_bytes()).hexdigest()
    if found != package.sha512:
        raise TrainingError(
            f"{package.spec}: the archive has SHA-512 {found[:16]}…, expected "
            f"{package.sha512[:16]}…; the registry served something else, nothing was unpacked"
        )
    return archive


def _unpack(draft: Path, pictures: Path, names: Path) -> None:
    """Write a set from the two archives; only files of the expected names are taken."""
    for name, data in _plain_files(pictures):
        if asset := _ASSET.fullmatch(name):
            (draft / "assets" / asset[1]).write_bytes(data)
    lists = {name: data for name, data in _plain_files(names) if name.endswith(".json")}
    listing = {
        "chars": json.loads(lists["package/chars.json"]),
        "categories": json.loads(lists["package/metadata.json"])["categories"],
    }
    (draft / "names.json").write_text(json.dumps(listing), "utf-8")


def _plain_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of an archive's ordinary files; nothing is written, links are passed over.

    Raises:
        TrainingError: it unpacks to more than it may.
    """
    total = 0
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            total += member.size
            if member.size > _LARGEST or total > _MOST:
                raise TrainingError(f"{archive.name}: {member.name} makes it larger than expected")
            stream = tar.extractfile(member) if member.isreg() else None
            if stream is not None:
                yield member.name, stream.read()
