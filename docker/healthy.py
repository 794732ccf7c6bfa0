"""Exit with 0 when an address answers as it should: for health checks, in an image without curl.

healthy.py URL [STATUS]; the status is 200 unless said otherwise.
"""

import sys
import urllib.error
import urllib.request

url, expected = sys.argv[1], int((sys.argv[2:] or ["200"])[0])
try:
    with urllib.request.urlopen(url, timeout=4) as answer:
        status = answer.status
except urllib.error.HTTPError as error:
    status = error.code
except OSError as error:
    sys.exit(f"{url}: {error}")
if status != expected:
    sys.exit(f"{url}: {status}; expected {expected}")
