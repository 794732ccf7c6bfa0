"""What can go wrong with an engine that is a process of its own.

EngineError
 ├─ EngineDied           the process is gone; ``began`` tells whether the work had been taken up
 │   └─ EngineStalled    it gave no sign of life, and was killed
 └─ Cancelled
     └─ EnginesStopping  its owner stops it; what was asked of it is nobody's failure
"""

from __future__ import annotations

from kontext_engine.errors import Cancelled, EngineError


class EngineDied(EngineError):  # noqa: N818 - says what happened
    """An engine's process is gone; the message names it, how it ended and at what.

    ``began`` is false when it died before it took up the requests: no picture was begun, so
    another engine may be asked at no cost.
    """

    def __init__(self, message: str, *, began: bool) -> None:
        super().__init__(message)
        self.began = began


class EngineStalled(EngineDied):
    """An engine gave no sign of life within its limit, and was killed."""


class EnginesStopping(Cancelled):
    """The engines are being stopped by their owner, so what was asked is not done.

    A kind of ``Cancelled``: a run of a plan is interrupted by it, and counts no failed attempt.
    """
