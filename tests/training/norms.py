"""What torch tells of each training: autocast leaves norms in float32. It is meant."""

from __future__ import annotations

import pytest

NORMS = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
