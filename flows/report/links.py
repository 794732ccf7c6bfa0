"""How the page names its pictures: by their place beside it, or by links that end one day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlsplit

from flows.store.runfolder import RunFolder

PAGE = "report.html"


class Links(Protocol):
    """Where the page finds files of the run's folder."""

    @property
    def sources(self) -> str:
        """What the page's Content-Security-Policy allows pictures to come from."""

    def href(self, name: str) -> str:
        """The reference to a file by its name in the folder."""


class RelativeLinks:
    """Beside the page: on a disk, on a web server, wherever the folder is copied to."""

    # To a page from a disk 'self' means nothing in some browsers.
    sources = "'self' file:"

    def href(self, name: str) -> str:
        """The name, quoted; a colon in it does not become a scheme."""
        return quote(name)


RELATIVE = RelativeLinks()


@dataclass(frozen=True, slots=True)
class PresignedLinks:
    """Signed URLs: the page works for everybody who has it, wherever it is, for ``seconds``."""

    run: RunFolder
    seconds: int

    @property
    def sources(self) -> str:
        """The server that the URLs point to, and nothing else."""
        url = urlsplit(self.run.link(PAGE, self.seconds))
        return f"{url.scheme}://{url.netloc}"

    def href(self, name: str) -> str:
        """A URL that lets its holder read the file for so long."""
        return self.run.link(name, self.seconds)
