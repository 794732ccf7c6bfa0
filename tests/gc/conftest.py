"""A folder that a clean-up is to clean."""

from __future__ import annotations

import os

import pytest

from flows.store.folder import LocalObjects
from flows.store.keyed import KeyedStore


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def objects(tmp_path):
    return LocalObjects(tmp_path / "out")


@pytest.fixture
def store(objects):
    return KeyedStore(objects)
