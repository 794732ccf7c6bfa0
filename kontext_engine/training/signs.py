"""Signs: a board, a pack or a card with a word of three to five capital letters.

At 128 pixels a token covers 16 of them, so a letter is about a token wide. Half of the words that
are trained on are English, half are any letters at all: what is learned is spelling. The words of
the bench are never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kontext_engine.training.scenes import Pixels

Ink = tuple[int, int, int]

KINDS = ("sign", "pack", "card")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CAP = 24  # pixels: the height of a capital where the picture is 128 pixels wide

_WORDS = """
    ART BAR BIG BOX BUS CAR CUP DAY EAT FUN HOT ICE JAM KEY LAB MAP NEW NOW OFF OIL OUT PAY PET
    RED RUN SEA SHOP SKY SUN TAX TOP TOY VIP WAY WIN YES ZOO BABY BANK BEST BIKE BLUE BOAT BOOK
    CAFE CAKE CITY CLUB COLD COOL DEAL DOWN EAST EXIT FARM FAST FILM FIRE FISH FOOD FREE GAME
    GIFT GOLD GOOD HELP HERO HOME IDEA KIND KING LATE LEFT LIFE LIVE LOVE LUCK MEAL MILK MOON
    MORE NEXT NICE PARK PLAY POOL POST PURE RAIN RENT ROAD ROCK ROOM SAFE SALT SHOE SILK SNOW
    SOAP SOLD SONG SOUP STAR STOP TAXI TEAM TIME TOUR TOWN TREE WALK WARM WEST WIFI WILD WOOD
    WORK ZERO APPLE BEACH BLACK BREAD BRAVE CANDY CHEAP CLEAN CLOUD DAILY DANCE DREAM EARLY
    EARTH EVENT EXTRA FIRST FRUIT GHOST GREEN HAPPY HOTEL HOUSE JUICE LEMON LIGHT LUCKY MAGIC
    METRO MUSIC NIGHT NORTH OCEAN OFFER PARTY PHONE PHOTO PIZZA PRICE QUICK QUIET RADIO RIGHT
    RIVER ROYAL SALAD SHARP SMART SMILE SOUTH SPACE SPORT STORE SUGAR SUPER SWEET TABLE TASTE
    TITLE TODAY TOKYO TRAIN TRUCK VIDEO VITAL VOICE WATER WHITE WORLD YOUNG
"""
# Asked for by the bench alone.
_HELD_OUT = """
    OPEN SALE TEA SPA PUB GYM CLOSE COAST FRESH FLOUR BREW HERB MINT PLUM QUIZ JAZZ OVEN VISA
    GLOW WAX ZEN DUSK FOXY HUMID KAYAK LUNAR NOVA ORBIT PRISM RUBY VENUE YACHT BLOOM CRISP DAISY
    EMBER FJORD GROVE HONEY INDIE
"""
WORDS, HELD_OUT = tuple(_WORDS.split()), tuple(_HELD_OUT.split())


@dataclass(frozen=True, slots=True)
class Sign:
    """How a family's sign looks: fixed within the family, whatever the word."""

    kind: str
    board: Ink
    ink: Ink
    bold: int  # pixels that letters are widened by, of a board drawn four times as large
    box: tuple[int, int, int, int]  # the board's: left, top, right, bottom, pixels

    @classmethod
    def of(cls, seed: int, size: tuple[int, int]) -> Sign:
        """The sign of a seed; ``size`` is the picture's (width, height) in pixels."""
        rng = np.random.default_rng([seed, 6])
        width, height = size
        light = bool(rng.random() < 0.6)
        pale = [int(v) for v in rng.integers(200, 256, 3)]
        deep = [int(v) for v in rng.integers(10, 120, 3)]
        deep[int(rng.integers(3))] //= 3  # a colour rather than a grey
        board, ink = (pale, deep) if light else (deep, pale)
        w = round(width * rng.uniform(0.84, 0.92))
        h = round(height * rng.uniform(0.32, 0.40))
        left = round((width - w) * rng.uniform(0.2, 0.8))
        top = round(height * rng.uniform(0.24, 0.38))
        kind = KINDS[int(rng.integers(len(KINDS)))]
        bold = int(rng.integers(3, 8))
        box = (left, top, left + w, top + h)
        return cls(kind, (board[0], board[1], board[2]), (ink[0], ink[1], ink[2]), bold, box)

    def draw(self, canvas: Pixels, word: str) -> Pixels:
        """The sign with this word on ``canvas`` (h, w, 3), 0..1; the canvas stays as it is."""
        height, width = canvas.shape[:2]
        big = Image.new("RGBA", (4 * width, 4 * height), (0, 0, 0, 0))
        draw = ImageDraw.Draw(big)
        left, top, right, bottom = (4 * v for v in self.box)
        dark = tuple(round(0.55 * v) for v in self.board)
        if self.kind == "sign":  # on two posts
            for x in (left + (right - left) // 5, right - (right - left) // 5):
                draw.rectangle((x - 8, bottom, x + 8, 4 * round(0.93 * height)), fill=dark)
        elif self.kind == "pack":  # a box with a lid above and its body below
            draw.polygon(
                [(left, top), (left + 40, top - 56), (right - 40, top - 56), (right, top)],
                fill=tuple(round(0.8 * v) for v in self.board),
            )
            draw.rectangle((left, bottom, right, 4 * round(0.90 * height)), fill=dark)
        draw.rounded_rectangle(
            (left, top, right, bottom), 24, fill=self.board, outline=dark, width=8
        )
        edge = width / 128
        letters = lettering(word, round(_CAP * 4 * edge), self.bold)
        room = right - left - 40
        if letters.width > room:
            letters = letters.resize((room, letters.height), Image.Resampling.LANCZOS)
        at = ((left + right - letters.width) // 2, (top + bottom - letters.height) // 2)
        big.paste(self.ink, at, letters)
        drawn = np.asarray(big.reduce(4), dtype=np.float32) / 255.0
        alpha = drawn[..., 3:]
        shown: Pixels = canvas * (1 - alpha) + drawn[..., :3] * alpha
        return shown


@lru_cache(maxsize=64)
def _font(cap: int) -> ImageFont.FreeTypeFont:
    """Aileron (CC0), which comes with Pillow: a capital is 0.72 of its size."""
    font = ImageFont.load_default(size=cap / 0.72)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType; its own wheels have it")
    return font


def lettering(word: str, cap: int, bold: int) -> Image.Image:
    """A word in capitals ``cap`` pixels high, as a mask (mode L) trimmed to its ink."""
    font = _font(cap)
    step = cap // 5
    widths = [font.getlength(letter) for letter in word]
    mask = Image.new("L", (round(sum(widths)) + step * len(word) + 4 * bold, 2 * cap), 0)
    draw, x = ImageDraw.Draw(mask), float(2 * bold)
    for letter, width in zip(word, widths, strict=True):
        draw.text((x, cap * 0.3), letter, fill=255, font=font, stroke_width=bold)
        x += width + step
    return mask.crop(mask.getbbox())


def draw_words(rng: np.random.Generator, count: int) -> list[str]:
    """Different words to train on: English ones and mere letters by turns."""
    found: list[str] = []
    while len(found) < count:
        if rng.random() < 0.5:
            word = WORDS[int(rng.integers(len(WORDS)))]
        else:
            length = int(rng.integers(3, 6))
            word = "".join(LETTERS[int(k)] for k in rng.integers(len(LETTERS), size=length))
        if word not in found and word not in HELD_OUT:
            found.append(word)
    return found
