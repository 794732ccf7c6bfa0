"""Ports on loopback: those of the last start, or the usual ones, or the next that are free."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

from flows.up import UpError

HOST = "127.0.0.1"
USUAL = {
    "server": 4200,
    "s3": 8333,
    "s3-master": 9333,
    "s3-volume": 9340,
    "s3-filer": 8888,
    "postgres": 5432,
    "files": 4280,
    "worker": 9400,
    "parents": 9401,
}
GRPC = 10_000  # the S3 server's parts listen there, too
FURTHER = 100  # ports that are tried after the wanted one


def choose(
    names: Iterable[str], wanted: Mapping[str, int], before: Mapping[str, int]
) -> dict[str, int]:
    """A port for each name: ``wanted``, else that of ``before``, else the usual one, if it is free.

    Raises:
        UpError: a wanted one is taken, or none is free.
    """
    chosen: dict[str, int] = {}
    for name in names:
        first = wanted.get(name) or before.get(name) or USUAL[name]
        apart = (0, GRPC) if name.startswith("s3") else (0,)
        taken = {port + more for port in chosen.values() for more in (0, GRPC)}
        for port in range(first, min(first + FURTHER, 65_536 - apart[-1])):
            if all(port + more not in taken and is_free(port + more) for more in apart):
                chosen[name] = port
                break
            if name in wanted:
                raise UpError(
                    f"port {port} is taken; expected a free one for the {name}; end what has it, "
                    "give another, or none"
                )
        else:
            raise UpError(
                f"no port from {first} on is free for the {name}; expected one of {FURTHER}; end "
                "what has them"
            )
    return chosen


def is_free(port: int) -> bool:
    """Whether one may listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
