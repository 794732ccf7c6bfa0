"""Run in the worker's image: a disc is cut out by OpenCV, a word is read by rapidocr."""

from PIL import Image, ImageDraw, ImageFont

from kontext_engine.cutout import cut_out, cutout_libraries, cutout_method
from kontext_engine.judges import Shown
from kontext_engine.judges.legible import judge

picture = Image.new("RGB", (160, 120), "white")
ImageDraw.Draw(picture).ellipse((40, 20, 120, 100), fill="navy")
method = cutout_method(cutout_libraries())
box = cut_out(picture, method).getbbox()
assert box == (40, 20, 121, 101), box

sign = Image.new("RGB", (480, 320), "white")
ImageDraw.Draw(sign).text((40, 120), "AUTUMN", "black", ImageFont.load_default(80))
said = judge(Shown(sign, text="AUTUMN"))
assert said.score == 1, said
print(f"cut out by {method}; {said.reason}")  # noqa: T201
