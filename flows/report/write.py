"""Writing ``report.html`` into a run's folder from its manifest, the store and the thumbnails."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from flows.execution.pictures import open_source
from flows.files import write_whole
from flows.manifest import Manifest, StepEntry
from flows.recipe.step import SourceImage
from flows.report.thumbs import Thumbnails
from flows.report.view import build_page
from flows.store.base import BlobDamaged, Store
from kontext_engine.errors import PictureError

FILE_NAME = "report.html"


def source_problems(run: Path, sources: Iterable[SourceImage]) -> Mapping[str, str]:
    """Make the sources' thumbnails; by digest, why some could not be opened."""
    thumbs = Thumbnails(run)
    problems: dict[str, str] = {}
    for source in {source.digest: source for source in sources}.values():
        try:
            thumbs.make(source.digest, lambda source=source: open_source(source))  # type: ignore[misc]
        except PictureError as error:
            problems[source.digest] = str(error)
    return problems


def write_report(run: Path, manifest: Manifest, store: Store) -> Path:
    """Write the page; its path.

    Raises:
        OSError: of the file system.
        StoreError: the store cannot be read.
    """
    thumbs = Thumbnails(run)
    for step in manifest.steps:
        _make_thumbnail(step, thumbs, store)
    path = run / FILE_NAME
    write_whole(path, render(manifest, thumbs))
    return path


def _make_thumbnail(step: StepEntry, thumbs: Thumbnails, store: Store) -> None:
    if step.blob is None or thumbs.get(step.blob):
        return
    record = store.find(step.key)
    if record is None or record.blob != step.blob:
        return
    try:
        data = store.read(record)
    except BlobDamaged:
        return
    thumbs.make(step.blob, lambda: Image.open(io.BytesIO(data), formats=["PNG"]))


def render(manifest: Manifest, thumbs: Thumbnails) -> str:
    """The page's text. Everything that comes from a recipe is escaped."""
    environment = Environment(
        loader=PackageLoader("flows.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source, _, _ = environment.loader.get_source(environment, "report.js.j2")  # type: ignore[union-attr]
    script = source.strip()
    # Only this script may run and nothing may be fetched, whatever a prompt contains.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("report.html.j2")
    page = build_page(manifest, thumbs.get)
    return template.render(page=page, script=Markup(script), policy=policy)  # noqa: S704 - our own file
