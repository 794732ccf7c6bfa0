"""Who picks: what a recipe says under ``by``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from flows.problems import did_you_mean
from flows.recipe.fields import Part, mistake

HAND = "hand"


class ScoreSpec(Part):
    """A judge and what it is told. Without a judge a hand picks."""

    score: str = Field(
        min_length=1, description="The judge: sharpness, preserved, identity, text, or one's own."
    )
    of: str | None = Field(
        default=None,
        min_length=1,
        description="For judges that compare: the input or step to compare with; default: the "
        "first picture that a candidate was made from.",
    )
    text: str | None = Field(
        default=None,
        min_length=1,
        description="For judges that read: the words to be read; {language.word} is filled in.",
    )

    @property
    def is_hand(self) -> bool:
        """Whether a person picks."""
        return not self.score


BY_HAND = ScoreSpec.model_construct(score="")


def _by(value: Any) -> Any:
    if value == HAND:
        return BY_HAND
    if isinstance(value, str):
        hint = did_you_mean(value, [HAND]) or "write 'by: hand' or 'by: {score: sharpness}'"
        raise mistake(f"'by' is '{value}'; expected 'hand' or {{score: NAME}}; {hint}")
    return value


ByField = Annotated[
    ScoreSpec, BeforeValidator(_by, json_schema_input_type=Literal["hand"] | ScoreSpec)
]
