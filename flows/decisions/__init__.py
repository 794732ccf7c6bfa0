"""Decisions: what people and judges say of pictures, each a record of its own in the store."""
