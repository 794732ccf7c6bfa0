"""Writing ``report.html`` into a run's folder from its manifest, the store and the thumbnails."""

from __future__ import annotations

import base64
import hashlib
import io
import logging

from markupsafe import Markup
from PIL import Image

from flows.run.asking import describe
from flows.run.manifest import Manifest, StepEntry
from flows.run.page import templates
from flows.run.report.links import PAGE, RELATIVE, SHARED, Links
from flows.run.report.thumbs import Thumbnails
from flows.run.report.view import difference_of, page_of
from flows.run.thumbs import Thumbnail
from flows.store.base import StoreError
from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.runfolder import RunFolder

log = logging.getLogger(__name__)


def write_report(
    run: RunFolder,
    manifest: Manifest,
    store: KeyedStore,
    links: Links = RELATIVE,
    thumbs: Thumbnails | None = None,
    shared: Links | None = None,
) -> str:
    """Write the page and the thumbnails it lacks; what people call the page.

    A picture is read only where the store has no thumbnail of it. With ``shared`` it is written
    a second time, with these links, for whoever is given a link to it.

    Raises:
        StoreError: the store cannot be read, or the run's home cannot be written.
    """
    thumbs = thumbs or Thumbnails(run)
    for _ in in_lanes(lambda step: _bring(step, thumbs, store), manifest.steps, LANES):
        pass
    run.write(PAGE, render(manifest, thumbs, links))
    if shared is not None:
        run.write(SHARED, render(manifest, thumbs, shared))
    return run.at(PAGE)


def _bring(step: StepEntry, thumbs: Thumbnails, store: KeyedStore) -> None:
    if (shown := difference_of(step)) and not thumbs.get(shown.digest):
        thumbs.bring(store.objects, shown)
    if step.blob is None or thumbs.get(step.blob):
        return
    if step.width and step.height:
        thumb = Thumbnail.of(step.blob, step.width, step.height)
        if thumbs.bring(store.objects, thumb):
            return
    found = store.find_picture(step.key)
    if found is None or found[0].blob != step.blob:
        return
    try:
        with Image.open(io.BytesIO(found[1]), formats=["PNG"]) as picture:
            thumbs.make(step.blob, picture)
    except StoreError:
        raise
    except Exception as error:  # a page without one picture is still a page
        log.warning("no thumbnail of %s: %s", step.label, describe(error))


def render(manifest: Manifest, thumbs: Thumbnails, links: Links) -> bytes:
    """The page. Everything that comes from a recipe is escaped."""
    environment = templates("flows.run.report")
    source, _, _ = environment.loader.get_source(environment, "report.js.j2")  # type: ignore[union-attr]
    script = source.strip()
    # Only this script may run and only the run's pictures be fetched, whatever a prompt contains.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src {links.sources}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("report.html.j2")
    given = {"script": Markup(script), "policy": policy, "href": links.href}  # noqa: S704 - our own file
    given["until"] = links.until
    page = template.stream(**page_of(manifest, thumbs.get), **given)
    page.enable_buffering(1000)  # of 10^5 steps there are millions of pieces, and 140 MB
    return b"".join(piece.encode() for piece in page)
