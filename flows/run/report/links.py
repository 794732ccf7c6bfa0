"""How the page names its pictures: by their place beside it, or by links that end one day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from flows.store.runfolder import RunFolder

PAGE = "report.html"
SHARED = "shared.html"  # the same page with signed links, for whoever is given a link to it


def ends(seconds: int) -> str:
    """When links end that are made now, for people."""
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Links:
    """Where the page finds files of the run's folder.

    Beside it, on a disk, on a web server, wherever the folder is copied to; or, with ``signed``,
    by URLs that work for everybody who has the page, wherever it is, for ``seconds``.
    """

    signed: RunFolder | None = None
    seconds: int = 0

    @property
    def until(self) -> str:
        """When links that are made now end, for people; "" if they do not."""
        return "" if self.signed is None else ends(self.seconds)

    @property
    def sources(self) -> str:
        """What the page's Content-Security-Policy allows pictures to come from."""
        if self.signed is None:
            return "'self' file:"  # to a page from a disk 'self' means nothing in some browsers
        url = urlsplit(self.href(PAGE))
        return f"{url.scheme}://{url.netloc}"

    def href(self, name: str) -> str:
        """The reference to a file: quoted, so that a colon in it does not become a scheme."""
        return quote(name) if self.signed is None else self.signed.link(name, self.seconds)


RELATIVE = Links()
