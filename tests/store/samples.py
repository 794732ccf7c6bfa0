"""Records to put into stores."""

from __future__ import annotations

import hashlib

from flows.store.record import Record


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_record(key: str, blob: bytes, **changes) -> Record:
    values = {
        "key": key,
        "blob": hashlib.sha256(blob).hexdigest(),
        "size": len(blob),
        "media_type": "image/png",
        "width": 128,
        "height": 96,
        "step": "beach",
        "label": "beach[product=shoe]",
        "operation": "edit",
        "params": {"prompt": "put it on a beach – été", "seed": 7, "size": None},
        "model": "kontext-mini",
        "model_digest": digest("weights"),
        "numerics": {"dtype": "float32", "version": 1},
        "parents": (digest("parent"),),
        "sources": (),
        "geometry": {"target": [128, 96]},
        "notes": ("cropped 3 pixels",),
        "seconds": 0.25,
        "created": "2026-01-02T03:04:05+00:00",
        "software": "kontext-pipeline 0.1.0",
        "attempts": 1,
    }
    return Record(**(values | changes))
