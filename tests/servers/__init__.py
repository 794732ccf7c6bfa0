"""Servers that the tests start on loopback: a real S3 server, and ones that misbehave."""
