"""What every test may ask for."""

from .servers.fixtures import (
    become,
    careless,
    careless_place,
    faults,
    faulty_place,
    own_seaweed,
    proxy,
    s3_environment,
    s3_place,
    seaweed,
)
from .servers.postgres import own_postgres, postgres
from .servers.prefect import own_prefect, prefect_on_postgres, prefect_server

__all__ = [
    "become",
    "careless",
    "careless_place",
    "faults",
    "faulty_place",
    "own_postgres",
    "own_prefect",
    "own_seaweed",
    "postgres",
    "prefect_on_postgres",
    "prefect_server",
    "proxy",
    "s3_environment",
    "s3_place",
    "seaweed",
]
