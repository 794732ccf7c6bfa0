"""A certificate authority of the test's own, and a certificate for 127.0.0.1 by it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificate:
    """``bundle`` is what a client must trust; ``chain`` holds the server's, and its key."""

    bundle: Path
    chain: Path

    def context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.chain)
        return made


def make_certificate(folder: Path) -> Certificate:
    authority = trustme.CA()
    made = Certificate(folder / "authority.pem", folder / "server.pem")
    authority.cert_pem.write_to_path(made.bundle)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(made.chain)
    return made
