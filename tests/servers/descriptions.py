"""What botocore reads of a service before it makes a client: a megabyte of JSON, read once here."""

from __future__ import annotations

import functools

import botocore.session


def share_descriptions() -> None:
    """All clients of this process have them from one place: the tests make hundreds of clients.

    In use each takes a sixth of a second of the processor, and there are two or three.
    """
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)


def read_descriptions() -> None:
    """Those of S3, for the processes that are forked off this one."""
    session = botocore.session.Session()
    session.set_credentials("nobody", "nothing")
    session.create_client("s3", region_name="us-east-1")
