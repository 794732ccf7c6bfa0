"""What every test may ask for."""

from .servers.fixtures import own_seaweed, s3_environment, s3_place, seaweed

__all__ = ["own_seaweed", "s3_environment", "s3_place", "seaweed"]
