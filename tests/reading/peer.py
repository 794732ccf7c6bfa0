"""ImageMagick's own reading of a picture: another decoder, another use of LittleCMS."""

import shutil
import subprocess
from functools import lru_cache

import numpy as np

from tests.reading.table import SIDE, SRGB

BATCH = 25  # files a process: most of a single one's time is its start


@lru_cache(maxsize=1)
def command():
    """ImageMagick's converter, if a real one is installed."""
    for name in ("magick", "/usr/bin/convert", "convert"):
        path = shutil.which(name)
        if path and b"ImageMagick" in subprocess.run(
            [path, "-version"], capture_output=True, check=False
        ).stdout:  # fmt: skip
            return path
    return None


def peer_colours(cases, folder):
    """Each case's patches (n, 3), 0..1, by its name; without those that ImageMagick refuses."""
    target = folder / "srgb.icc"
    target.write_bytes(SRGB)
    for name in ("profiled", "plain", "made"):
        (folder / name).mkdir()
    for number, case in enumerate(cases):
        # By its ending, as TGA has no signature.
        ending = "tga" if case.container == "TGA" else "img"
        path = folder / ("profiled" if case.profiled else "plain") / f"{number}.{ending}"
        path.write_bytes(case.make())
    for name, options in (
        ("profiled", ["-profile", target]), ("plain", ["-colorspace", "sRGB"]),
    ):  # fmt: skip
        files = sorted((folder / name).iterdir())
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            convert(batch, options, folder / "made")
            for path in batch:  # one that it refuses takes others with it
                if not (folder / "made" / f"{path.stem}.ppm").exists():
                    convert([path], options, folder / "made")
    made = ((case.name, folder / "made" / f"{i}.ppm") for i, case in enumerate(cases))
    return {name: patches(path.read_bytes()) for name, path in made if path.exists()}


def convert(files, options, folder):
    flat = ["-background", "white", "-alpha", "remove", "-depth", "16"]
    target = ["-set", "filename:n", "%t", f"{folder}/%[filename:n].ppm"]
    named = [f"{path}[0]" for path in files]
    subprocess.run(
        [command(), "-quiet", *named, *options, *flat, *target], check=False, capture_output=True
    )


def patches(ppm):
    head, rest = ppm.split(b"\n65535\n", 1)
    width, height = map(int, head.split()[1:3])
    pixels = np.frombuffer(rest, ">u2").reshape(height, width, 3)
    return pixels[SIDE // 2, SIDE // 2 :: SIDE] / 65535
