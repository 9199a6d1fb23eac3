"""What can be set about a study, on the command line after the recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from gatesearch.recipe.check import check
from gatesearch.recipe.errors import wrong
from gatesearch.recipe.overrides import Override, split_argument

WHERE = "scaling"
AT_ONCE = 512


def _batches(value: Any) -> str:
    written = str(value)
    found = re.fullmatch(r"(\d+)\.\.(\d+)", written)
    if found is None:
        raise wrong(f"{written!r} is no range such as 8..4096")
    low, high = map(int, found.groups())
    if low < 1 or low & (low - 1) or high & (high - 1) or high < low:
        raise wrong(f"{written!r}: batch sizes go from one power of two to another")
    return written


class Settings(BaseModel):
    """How a study goes.

    Args:
        batches: batch sizes, each power of two from one to another; those above the training split are left out.
        trials: quasi-random trials a batch size, and half as many, but eight at least, for every bound moved on.
        pilot: trials of the pilot.
        seeds: trainings of each of the three best configs of a batch size.
        goal: validation error to reach; null for the pilot's.
        epochs: of the pilot, and of what is compared under equal budgets; null for the recipe's ``training.epochs``.
        cap: step budget of a trial, as a multiple of what it would take under perfect scaling.
        ghost: samples normalised together, where the backbone normalises over the batch; null for the smallest batch.
        micro: samples computed at once, the gradients of a larger batch being added up; null for 512, or the smallest
            batch where that is larger.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batches: Annotated[str, BeforeValidator(_batches)] = "8..4096"
    trials: Annotated[int, Field(ge=4)] = 20
    pilot: Annotated[int, Field(ge=4)] = 12
    seeds: PositiveInt = 3
    goal: PositiveFloat | None = None
    epochs: PositiveInt | None = None
    cap: Annotated[float, Field(gt=1)] = 3.5
    ghost: PositiveInt | None = None
    micro: PositiveInt | None = None

    @model_validator(mode="after")
    def _groups_fill_batches(self) -> Settings:
        if self.group & (self.group - 1) or self.group > self.sizes[0]:
            raise wrong(f"{self.group} is no power of two up to the smallest batch size, {self.sizes[0]}", "ghost")
        if self.at_once % self.group:
            raise wrong(f"{self.at_once} is no multiple of the {self.group} samples normalised together", "micro")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes, rising.

        >>> Settings(batches="8..64").sizes
        (8, 16, 32, 64)
        """
        low, high = map(int, self.batches.split(".."))
        return tuple(1 << k for k in range(low.bit_length() - 1, high.bit_length()))

    @property
    def group(self) -> int:
        """Samples normalised together."""
        return self.ghost or self.sizes[0]

    @property
    def at_once(self) -> int:
        """Samples computed at once."""
        return self.micro or max(AT_ONCE, self.sizes[0])


def parted(written: Sequence[str]) -> tuple[Settings, list[str]]:
    """Part what is for the study from what is for the recipe.

    Raises:
        UserError: a setting of the study is wrong.
    """
    own = [text for text in written if split_argument(text)[0] in Settings.model_fields]
    overrides = [Override.parse(text) for text in own]
    tree: dict[str, object] = {}
    for override in overrides:
        tree = override.apply(tree)
    return check(Settings, tree, WHERE, overrides), [text for text in written if text not in own]
