"""SeaweedFS as the S3 server of one host: its own programs on loopback, S3 for who holds a key.

Roles have the rights of docs/storage.md and no more. A role's key comes by S3_<ROLE>_KEY and
S3_<ROLE>_SECRET; KONTEXT_STORE says which bucket and prefix they are for. Data are in /data.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = "127.0.0.1"
FILER = 8888
PAGE = Path("/usr/local/share/storage.md")
# Who comes with which key, and the roles that the page gives rights to.
ROLES = {
    "PARENTS": ("parent",),
    "WORKERS": ("worker",),
    "COLLECTOR": ("collector",),
    "PEOPLE": ("author", "puller"),
}


def needed(name: str) -> str:
    """A variable's value; without it nothing starts."""
    return os.environ.get(name) or sys.exit(f"{name} is not set; expected a value; see docker/.env")


def identities(bucket: str, prefix: str) -> dict[str, object]:
    """Keys and policies as the server reads them."""
    text = PAGE.read_text("utf-8")
    # On the page the store is s3://pictures/shots.
    text = text.replace("arn:aws:s3:::pictures/shots", f"arn:aws:s3:::{bucket}/{prefix}")
    text = text.replace("arn:aws:s3:::pictures", f"arn:aws:s3:::{bucket}")
    policies = dict(re.findall(r"```json (\w+)\n(.*?)```", text, re.DOTALL))
    return {
        "identities": [
            {
                "name": name.lower(),
                "credentials": [
                    {
                        "accessKey": needed(f"S3_{name}_KEY"),
                        "secretKey": needed(f"S3_{name}_SECRET"),
                    }
                ],
                "actions": [],
                "policyNames": list(roles),
            }
            for name, roles in ROLES.items()
        ],
        "policies": [{"name": name, "content": content} for name, content in policies.items()],
    }


def make_bucket(bucket: str, server: subprocess.Popen[bytes]) -> None:
    """Once the server answers; one that is there stays as it is."""
    folder = f"http://{HERE}:{FILER}/buckets/{bucket}/"
    while server.poll() is None:
        try:
            urllib.request.urlopen(
                urllib.request.Request(folder, method="POST"), timeout=10
            ).close()
            return
        except OSError:
            time.sleep(0.5)


def main() -> int:
    """Serve until a signal says to end."""
    bucket, _, prefix = needed("KONTEXT_STORE").removeprefix("s3://").partition("/")
    config = Path("/tmp/identities.json")
    config.touch(0o600)
    config.write_text(json.dumps(identities(bucket, prefix)))
    options = {
        "dir": "/data",
        "ip": HERE,
        "ip.bind": HERE,
        "filer": "true",
        "filer.port": FILER,
        "s3": "true",
        "s3.ip.bind": "0.0.0.0",
        "s3.port": os.environ.get("S3_PORT") or 8333,
        "s3.config": config,
        "s3.autoCreateBucket": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "volume.max": 0,
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 1024,
    }
    quiet = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    server = subprocess.Popen(
        ["weed", "server", *(f"-{name}={value}" for name, value in options.items())], env=quiet
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.send_signal(signal.SIGTERM))
    make_bucket(bucket, server)
    return server.wait()


if __name__ == "__main__":
    sys.exit(main())
