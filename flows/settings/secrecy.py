"""Secrets taken out of text that people will see.

The first rule is to have none: credentials are boto3's own affair. This is the second: what looks
like one is masked wherever a setting or an address is shown.
"""

from __future__ import annotations

import re

MASK = "***"

# user:password@ of an address; also without a scheme's end in sight (user:password@host).
_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s'\"]*@")
# ?X-Amz-Signature=... and whatever else a query holds of that kind.
_QUERY = re.compile(
    r"(?P<name>[?&;](?:X-Amz-[A-Za-z-]+|AWSAccessKeyId|Signature|[A-Za-z_-]*(?:token|secret|key|"
    r"password|signature|sig|credential)[A-Za-z_-]*)=)[^&#\s'\"]+",
    re.IGNORECASE,
)
# The shapes of AWS access keys: the name of one, and forty characters that mix cases and digits.
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b")
_SECRET_KEY = re.compile(
    r"(?<![A-Za-z0-9/+=_-])(?=[A-Za-z0-9/+]*[A-Z])(?=[A-Za-z0-9/+]*[a-z])(?=[A-Za-z0-9/+]*[0-9])"
    r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=_-])"
)


def masked(text: str) -> str:
    """``text`` with passwords and signatures of addresses, and AWS keys, replaced by ``***``."""
    text = _USER_INFO.sub(rf"\g<scheme>{MASK}@", text)
    text = _QUERY.sub(rf"\g<name>{MASK}", text)
    text = _KEY_ID.sub(MASK, text)
    return _SECRET_KEY.sub(MASK, text)
