"""Which numerics a run computes with, from what was asked on the command line. Torch-free."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kontext_engine.spec import NumericsProfile


class Device(StrEnum):
    """Where pictures are computed."""

    CPU = "cpu"
    CUDA = "cuda"


class Dtype(StrEnum):
    """How precisely."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def choose_numerics(dtype: Dtype | None = None, device: Device = Device.CPU) -> NumericsProfile:
    """The profile for a device; its precision, if not given, is the usual one there.

    Nothing is detected: keys must not depend on the machine that happens to make the plan.
    """
    from kontext_engine.spec import NumericsProfile

    usual = Dtype.BFLOAT16 if device is Device.CUDA else Dtype.FLOAT32
    return NumericsProfile(dtype=(dtype or usual).value, device=device.value)
