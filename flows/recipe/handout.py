"""The recipe format's outputs: files of pictures, what becomes of them there, contact sheets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from flows.recipe.fields import ExactSize, Part


class Shaping(Part):
    """What becomes of a picture on its way into a file."""

    size: ExactSize | None = Field(
        default=None,
        description="The file's size in pixels, '1080x1350'; default: the picture's own.",
    )
    fit: Literal["crop", "pad", "inside", "stretch"] | None = Field(
        default=None,
        description="How a picture of another aspect meets 'size': 'crop' cuts the overflow "
        "(default), 'pad' adds margins of 'ground', 'inside' makes it as large as fits and adds "
        "nothing, 'stretch' distorts.",
    )
    ground: str | None = Field(
        default=None,
        description="What margins are made of: a colour (white, '#f4f2ee') or 'blur', the picture "
        "itself, blurred. Default: white.",
    )
    format: Literal["png", "jpeg", "webp", "avif", "tiff"] | None = Field(
        default=None, description="Default: by the name's extension, else png."
    )
    quality: int | None = Field(
        default=None, ge=1, le=100, description="For jpeg, webp and avif; default: 95."
    )
    max_kb: int | None = Field(
        default=None,
        ge=1,
        description="For jpeg, webp and avif: the most that the whole file may weigh, in 1,000 "
        "bytes; the best quality that does is searched for.",
    )
    lossless: bool | None = Field(
        default=None, description="For webp: every pixel as it is. Default: false."
    )
    chroma: Literal["4:4:4", "4:2:2", "4:2:0"] | None = Field(
        default=None,
        description="For jpeg and avif: how finely colours are kept beside brightness; default: "
        "4:4:4, all of it.",
    )
    metadata: Literal["full", "credit", "none"] | None = Field(
        default=None,
        description="What the file tells of itself: 'full' (prompt, seed, model and key too), "
        "'credit' (who and what made it) or 'none'. Default: the setting delivery.metadata.",
    )


class OutputSpec(Shaping):
    """Which pictures are handed out, and under which names."""

    step: str = Field(description="The step whose pictures these are.")
    alpha: str | bool | None = Field(
        default=None,
        description="A step whose transparency the file has, such as one of op 'cutout'; false: "
        "what is transparent is put on white. Default: the picture's own, where the format has "
        "some.",
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        description="A file name in the run's folder, with / for folders and without extension. "
        "Beside the variables there are {step}, {variant} and {recipe}. Default: the step's name, "
        "then the names of the values it depends on.",
    )
    preset: str | None = Field(
        default=None,
        description="What a platform asks of a file, by name (instagram-portrait); what the output "
        "says itself counts before it. presets.yaml beside the recipe may have more.",
    )


class SheetSpec(Part):
    """A contact sheet: a step's pictures side by side, with their captions."""

    sheet: str = Field(description="The step whose pictures it shows.")
    name: str | None = Field(
        default=None,
        min_length=1,
        description="A file name that ends in .pdf, .png or .html. Where it holds variables, there "
        "is a sheet for each of their values. Default: the step's name, .pdf.",
    )
    columns: int = Field(default=4, ge=1, le=20, description="Pictures side by side; default: 4.")
    order: str | None = Field(
        default=None,
        description="An axis, or axis.variable, by which its pictures are sorted. Default: as the "
        "variants are.",
    )
    caption: str | None = Field(
        default=None,
        description="What stands below a picture: '{shot}: {shot.words}'. Default: the names of "
        "the values it depends on.",
    )
    page: Literal["a4", "a4-landscape", "letter", "letter-landscape"] | None = Field(
        default=None, description="The paper of a pdf; default: a4-landscape."
    )
    missing: Literal["mark", "fail"] = Field(
        default="mark",
        description="Of a picture that could not be made: 'mark' its place (default), or 'fail': "
        "no sheet without it.",
    )
    font: str | None = Field(
        default=None,
        min_length=1,
        description="A TrueType font file for pdf and png, from the recipe's folder. Default: Noto "
        "Sans.",
    )
    metadata: Literal["full", "credit", "none"] | None = Field(
        default=None,
        description="What the sheet tells of itself: 'full' (who and what made its pictures, and "
        "the recipe's name), 'credit' (without the name) or 'none'. Default: the setting "
        "delivery.metadata.",
    )


FILE, SHEET = "[file]", "[sheet]"  # tags that stand in the places of mistakes


def _kind_of_output(value: Any) -> str:
    sheet = "sheet" in value if isinstance(value, dict) else isinstance(value, SheetSpec)
    return SHEET if sheet else FILE


Output = Annotated[
    Annotated[OutputSpec, Tag(FILE)] | Annotated[SheetSpec, Tag(SHEET)],
    Discriminator(_kind_of_output),
]
