"""The phrasings of every instruction."""

from __future__ import annotations

# scene: (as a thing, as a place)
PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "beach": (("a sandy beach", "on a sandy beach"), ("a sunny beach by the sea", "at the beach")),
    "snow": (("a snowy winter landscape", "in the snow"), ("snowy hills", "in a snowy landscape")),
    "night street": (
        ("a city street at night", "on a city street at night"),
        ("a dark street with lit windows", "in the city at night"),
    ),
    "street": (
        ("a city street", "on a city street"),
        ("a street in town by day", "in a street by day"),
    ),
    "forest": (("a green forest", "in a forest"), ("the woods", "among the trees")),
    "marble": (("a marble table", "on a marble table"), ("white marble", "on white marble")),
    "sunset": (("a sunset", "at sunset"), ("an orange sunset sky", "in front of a sunset")),
    "desert": (("a desert", "in the desert"), ("sand dunes", "among sand dunes")),
    "wood": (("a wooden table", "on a wooden table"), ("brown wooden planks", "on wooden planks")),
    "underwater": (("the bottom of the sea", "underwater"), ("deep blue water", "under the sea")),
    "space": (("outer space", "in outer space"), ("a starry night sky on the moon", "on the moon")),
    "meadow": (("a meadow with flowers", "in a meadow"), ("green grass", "on green grass")),
    "kitchen": (("a kitchen", "in a kitchen"), ("a kitchen counter", "on a kitchen counter")),
}

# In each list but LIGHT the last is held out.
BACKGROUND = (
    "change the background to {thing}",
    "put the {noun} {place}",
    "place it {place}",
    "replace the background with {thing}",
    "move the {noun} to {thing}",
    "make the background {thing}",
    "show the {noun} {place}",
    "the background should be {thing}",
)
RECOLOUR = (
    "make the {noun} {colour}",
    "change the colour of the {noun} to {colour}",
    "turn it {colour}",
    "recolor the {noun} in {colour}",
    "paint the {noun} {colour}",
    "make it {colour}",
    "give the {noun} a {colour} color",
    "the {noun} should be {colour}",
)
WEATHERS: dict[str, tuple[str, ...]] = {
    "night": (
        "make it night",
        "change the time of day to night",
        "turn day into night",
        "make it dark at night",
    ),
    "snow": ("make it snow", "let it snow", "add falling snow", "cover the scene in falling snow"),
    "rain": ("make it rain", "let it rain", "add rain", "show it in heavy rain"),
    "fog": ("add fog", "make it foggy", "cover everything in fog", "put the scene in thick fog"),
    "golden": (
        "light it with warm golden light",
        "make it golden hour",
        "use warm evening light",
        "bathe it in golden light",
    ),
    "monochrome": (
        "make it black and white",
        "turn it into a black and white photo",
        "remove all color",
        "make the picture black and white",
    ),
    "sepia": (
        "make it sepia",
        "turn it into an old sepia photo",
        "give it a sepia tone",
        "make the picture sepia",
    ),
    "neon": (
        "light it with pink and blue neon",
        "add neon light",
        "use neon lighting",
        "bathe it in neon light",
    ),
}
# Any weather, as a caption names it; beside the few phrasings that each has of its own.
LIGHT = (
    "show the {noun} {light}",
    "put everything {light}",
    "let it be {light}",
    "draw it {light}",
    "change the picture to one {light}",
)
UNCOVER = (
    "remove the {thing} from the {noun}",
    "remove the thing that covers it",
    "take away the {thing}",
    "remove the {thing} covering the {noun}",
    "remove the object covering the face",
    "uncover the {noun}",
    "remove what covers the {noun}",
    "take the {thing} off",
)
ADD = (
    "add a {thing} on the {side}",
    "put a {thing} on the {side}",
    "place a {thing} to the {side} of the {noun}",
    "add a {thing} to the {side}",
    "a {thing} should stand on the {side}",
)
REMOVE = (
    "remove the {thing}",
    "take away the {thing}",
    "delete the {thing}",
    "get rid of the {thing}",
)
REPLACE = (
    "replace the {old} with a {thing}",
    "change the {old} into a {thing}",
    "swap the {old} for a {thing}",
    "turn the {old} into a {thing}",
)
BOX = (
    "add a {thing} in the red box",
    "put a {thing} inside the red box",
    "place a {thing} in the box",
    "replace the red box with a {thing}",
    "change the red box into a {thing}",
    "a {thing} should stand in the red box",
    "show a {thing} in the box",
    "draw a {thing} in the red box",
)
TEXT = (
    'change "{old}" to "{word}"',
    'replace the text "{old}" with "{word}"',
    'the sign should read "{word}"',
    'write "{word}" on it',
    'replace "{old}" by "{word}"',
    'change the word to "{word}"',
    'make the sign say "{word}"',
)
# style: as it is asked for by name; the last is held out.
STYLED: dict[str, tuple[str, ...]] = {
    "flat": ("flat vector art", "a flat icon", "a flat drawing"),
    "ink": ("a black ink drawing", "black ink", "a black and white icon"),
    "sketch": ("a pencil sketch", "a pencil drawing", "a drawing in pencil"),
    "mosaic": ("a mosaic of squares", "pixel art", "a pixel mosaic"),
    "poster": ("a poster print", "a bold poster", "a poster"),
    "watercolour": ("a watercolor painting", "a watercolor", "a painting in watercolor"),
    "blueprint": ("a blueprint", "a blueprint drawing", "white lines on blue paper"),
    "halftone": ("a halftone print", "black dots on paper", "a print of black dots"),
}
RESTYLE = (
    "turn it into {style}",
    "make it {style}",
    "redraw the picture as {style}",
    "show the {noun} as {style}",
)
STYLE = (
    "in the style of the second picture",
    "draw the {noun} in the style of the second picture",
    "use the style of the second picture",
    "make it look like the second picture",
    "give the {noun} the style of the second picture",
)
POSED = {
    "left": (
        "small, on the left",
        "small, to the left",
        "on the left, small",
        "small on the left side",
        "far away on the left",
    ),
    "right": (
        "small, on the right",
        "small, to the right",
        "on the right, small",
        "small on the right side",
        "far away on the right",
    ),
    "close": ("close up", "up close", "close", "from close up", "in a close-up"),
    "turned": (
        "turned the other way",
        "turned to the other side",
        "the other way",
        "to the other side",
        "facing the other way",
    ),
}
CHARACTER = (
    "the same {noun} {place}, {pose}",
    "show this {noun} {place}, {pose}",
    "this {noun} again {place}, {pose}",
    "a new picture of this {noun} {place}, {pose}",
)
PLACE = (
    "put the {noun} of the first picture into the second picture",
    "put the {noun} into the place of the second picture",
    "show the {noun} in the second picture",
    "place the {noun} in the scene of the second picture",
)
EXPRESSIONS = {
    "grinning-face": "grin", "crying-face": "cry", "angry-face": "look angry",
    "sleeping-face": "sleep", "neutral-face": "look neutral", "smiling-face": "smile",
    "face-with-tongue": "stick out its tongue", "face-with-open-mouth": "look surprised",
    "smiling-face-with-sunglasses": "wear sunglasses", "star-struck": "have stars for eyes",
}  # fmt: skip
EXPRESSION = (
    "make it {face}",
    "make the {noun} {face}",
    "let the {noun} {face}",
    "the {noun} should {face}",
)
CAPTION = (
    "a {noun} {place}",
    "a picture of a {noun} {place}",
    "a photo of the {noun} {place}",
    "an image of a {noun} {place}",
)
CAPTION_LIGHT = {
    "night": "at night", "snow": "in falling snow", "rain": "in the rain", "fog": "in fog",
    "golden": "in golden light", "monochrome": "in black and white", "sepia": "in sepia",
    "neon": "in neon light",
}  # fmt: skip
PRONOUNS = ("subject", "product", "character", "object")
