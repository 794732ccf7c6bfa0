"""Writing ``report.html`` into a run's folder from its manifest, the store and the thumbnails."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from flows.execution.pictures import open_source
from flows.manifest import Manifest, StepEntry
from flows.recipe.step import SourceImage
from flows.report.links import PAGE, RELATIVE, Links
from flows.report.thumbs import Thumbnails
from flows.report.view import build_page
from flows.store.base import Store
from flows.store.lanes import in_lanes
from flows.store.runfolder import RunFolder
from kontext_engine.errors import PictureError

LANES = 8  # pictures made small and written at once


def source_problems(run: RunFolder, sources: Iterable[SourceImage]) -> Mapping[str, str]:
    """Make the sources' thumbnails; by digest, why some could not be opened.

    Raises:
        StoreError: the run's home is full, refuses writing, or is away.
    """
    thumbs = Thumbnails(run)

    def problem(source: SourceImage) -> str:
        try:
            thumbs.make(source.digest, lambda: open_source(source))
        except PictureError as error:
            return str(error)
        return ""

    asked = {source.digest: source for source in sources}.values()
    found = in_lanes(problem, asked, LANES)
    return {source.digest: problem for source, problem in found if problem}


def write_report(run: RunFolder, manifest: Manifest, store: Store, links: Links = RELATIVE) -> str:
    """Write the page and the thumbnails it lacks; what people call the page.

    Raises:
        StoreError: the store cannot be read, or the run's home cannot be written.
    """
    thumbs = Thumbnails(run)
    for _ in in_lanes(lambda step: _make_thumbnail(step, thumbs, store), manifest.steps, LANES):
        pass
    run.write(PAGE, render(manifest, thumbs, links))
    return run.at(PAGE)


def _make_thumbnail(step: StepEntry, thumbs: Thumbnails, store: Store) -> None:
    if step.blob is None or thumbs.get(step.blob):
        return
    found = store.find_picture(step.key)
    if found is None or found[0].blob != step.blob:
        return
    data = found[1]
    thumbs.make(step.blob, lambda: Image.open(io.BytesIO(data), formats=["PNG"]))


def render(manifest: Manifest, thumbs: Thumbnails, links: Links) -> str:
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
    # Only this script may run and only the run's pictures be fetched, whatever a prompt contains.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src {links.sources}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("report.html.j2")
    page = build_page(manifest, thumbs.get, links)
    return template.render(page=page, script=Markup(script), policy=policy)  # noqa: S704 - our own file
