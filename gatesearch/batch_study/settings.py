"""The settings of a batch-size study, which users give as key=value on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from gatesearch.recipe.check import check
from gatesearch.recipe.errors import invalid
from gatesearch.recipe.overrides import Override, split_argument

WHERE = "scaling"
DEFAULT_MICRO_BATCH = 512


def _check_batches(value: Any) -> str:
    text = str(value)
    match = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    if match is None:
        raise invalid(f"{text!r} is no range such as 8..4096")
    low, high = map(int, match.groups())
    if not _is_power_of_two(low) or not _is_power_of_two(high) or high < low:
        raise invalid(f"{text!r}: batch sizes go from one power of two to another")
    return text


def _is_power_of_two(number: int) -> bool:
    return number.bit_count() == 1


class Settings(BaseModel):
    """Trials, seeds and budgets of a study.

    Args:
        batches: first and last batch size, such as 8..4096. All powers of two from the first to the last are studied,
            except sizes above the training split.
        trials: number of quasi-random trials of each batch size. If the best trials lie near a bound of the search
            range, the study moves this bound. It then runs half as many trials again, but at least eight.
        pilot: number of trials of the pilot.
        seeds: number of repeated trainings of each of the three best configs of a batch size.
        goal: validation error to reach; null for the error that the pilot sets.
        epochs: epochs of the pilot and of the comparison under equal budgets; null for the recipe's
            ``training.epochs``.
        cap: step budget of a trial, as a multiple of the steps under perfect scaling.
        ghost: number of samples that a batch normalisation normalises together; null for the smallest batch size.
        micro: number of samples that are computed at once. A larger batch is computed in several parts, whose gradients
            are added up. Null for 512, or for the smallest batch size if that is larger.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batches: Annotated[str, BeforeValidator(_check_batches)] = "8..4096"
    trials: Annotated[int, Field(ge=4)] = 20
    pilot: Annotated[int, Field(ge=4)] = 12
    seeds: PositiveInt = 3
    goal: PositiveFloat | None = None
    epochs: PositiveInt | None = None
    cap: Annotated[float, Field(gt=1)] = 3.5
    ghost: PositiveInt | None = None
    micro: PositiveInt | None = None

    @model_validator(mode="after")
    def _check_group_sizes(self) -> Settings:
        if not _is_power_of_two(self.ghost_size) or self.ghost_size > self.batch_sizes[0]:
            smallest = self.batch_sizes[0]
            raise invalid(f"{self.ghost_size} is no power of two up to the smallest batch size, {smallest}", "ghost")
        if self.micro_batch % self.ghost_size:
            raise invalid(
                f"{self.micro_batch} is no multiple of the {self.ghost_size} samples normalised together", "micro"
            )
        return self

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes in rising order.

        >>> Settings(batches="8..64").batch_sizes
        (8, 16, 32, 64)
        """
        low, high = map(int, self.batches.split(".."))
        return tuple(1 << k for k in range(low.bit_length() - 1, high.bit_length()))

    @property
    def ghost_size(self) -> int:
        """Number of samples that are normalised together."""
        return self.ghost or self.batch_sizes[0]

    @property
    def micro_batch(self) -> int:
        """Number of samples that are computed at once."""
        return self.micro or max(DEFAULT_MICRO_BATCH, self.batch_sizes[0])


def split_words(words: Sequence[str]) -> tuple[Settings, list[str]]:
    """Split arguments of the command line into the settings of the study and the overrides of the recipe.

    Raises:
        UserError: a setting of the study is wrong.
    """
    own = [text for text in words if split_argument(text)[0] in Settings.model_fields]
    overrides = [Override.parse(text) for text in own]
    tree: dict[str, object] = {}
    for override in overrides:
        tree = override.apply(tree)
    return check(Settings, tree, WHERE, overrides), [text for text in words if text not in own]
