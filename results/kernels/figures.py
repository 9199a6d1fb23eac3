"""Ratios out of the timings of cases, and which of them were promised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from results.kernels.cases import DENSITIES, HIDDEN, LAYERS, PRECISION

FIGURES = ("minimum_us", "median_us")


@dataclass(frozen=True, slots=True)
class Times:
    """Microseconds of the calls of one case, best or middle round."""

    of: Mapping[str, float]

    @classmethod
    def read(cls, kept: Mapping[str, Any], figure: str) -> Times:
        """Take one figure of what a case left behind."""
        return cls({name: timing[figure] for name, timing in kept["times"].items()})

    def __getitem__(self, name: str) -> float:
        return self.of[name]

    def best(self, names: Iterable[str]) -> tuple[str, float]:
        """Return the fastest of some calls, and its time."""
        name = min(names, key=self.of.__getitem__)
        return name, self.of[name]

    def named(self, start: str) -> list[str]:
        """Return the calls whose name begins so."""
        return [name for name in self.of if name.startswith(start)]

    def second_phase(self, mask: str, sparsity: float) -> float:
        """Return what the low bits cost: a gated layer less the same with nothing open; of 3-D masks the better way."""
        closed = self.of[f"16/8 {mask} 1"]
        names = [f"16/8 {mask} {sparsity:g}"]
        if mask == "3d":
            names.append(f"16/8 3d blocks {sparsity:g}")
        return self.best(names)[1] - closed

    def layer(self, mask: str, sparsity: float) -> float:
        """Return what a gated layer costs; of 3-D masks the better way."""
        return self.of[f"16/8 {mask} 1"] + self.second_phase(mask, sparsity)


@dataclass(frozen=True, slots=True)
class Promise:
    """A ratio that was to be reached.

    Args:
        name: of the ratio.
        case: group and name of the case.
        ratio: from the case's times.
        target: as text.
        reached: whether a ratio is good enough.
        bound: the most that the work that is left allows, where that is known.
    """

    name: str
    case: tuple[str, str]
    ratio: Callable[[Times], float]
    target: str
    reached: Callable[[float], bool]
    bound: float | None = None


def promises() -> list[Promise]:
    """Return every ratio that was to be reached."""
    made = [
        Promise(
            f"own int8 product over torch._int_mm, {name}",
            ("dense", name),
            lambda t: t["product: own"] / t.best(t.named("product: torch"))[1],
            "at most 1.3",
            lambda ratio: ratio <= 1.3,
        )
        for name in LAYERS
    ]
    made.append(
        Promise(
            "fastest dense fp32 over FBS, density .5",
            ("fbs", "16 x 16, 128 channels"),
            lambda t: t.best(t.named("fp32: "))[1] / t["fbs, both sides, 0.5"],
            "at least 3",
            lambda ratio: ratio >= 3,
            4.0,
        )
    )
    for name in PRECISION:
        made += [
            Promise(
                f"own dense 16x8 over PG 16/8, M2 of 16, sparsity .7, {name}",
                ("pg", name),
                lambda t: t["16/8 dense"] / t["16/8 m2-16 0.7"],
                "at least 1.5",
                lambda ratio: ratio >= 1.5,
                2 / 1.3,
            ),
            Promise(
                f"second phase of 3-D masks over that of M2 of 16, sparsity .7, {name}",
                ("pg", name),
                lambda t: t.second_phase("3d", 0.7) / t.second_phase("m2-16", 0.7),
                "at least 2",
                lambda ratio: ratio >= 2,
            ),
        ]
    for size in HIDDEN:
        if size >= 256:
            made += [
                Promise(
                    f"fastest dense LSTM step over HMD at 4x, {size} units",
                    ("rnn", f"{size} units"),
                    lambda t: t.best(["LSTM dense", "LSTM torch"])[1] / t["LSTM HMD"],
                    "at least 3",
                    lambda ratio: ratio >= 3,
                    4.0,
                ),
                Promise(
                    f"fastest pruned LSTM step over HMD at 4x, {size} units",
                    ("rnn", f"{size} units"),
                    lambda t: t.best(t.named("LSTM pruned"))[1] / t["LSTM HMD"],
                    "more than 1",
                    lambda ratio: ratio > 1,
                ),
            ]
    return made


def densities(times: Times) -> list[tuple[float, float, float, float]]:
    """Return density, and how much faster FBS is: both sides and output alone over fp32, both sides in int8."""
    fastest = times.best(times.named("fp32: "))[1]
    return [
        (
            density,
            fastest / times[f"fbs, both sides, {density:g}"],
            fastest / times[f"fbs, output, {density:g}"],
            times["int8: own"] / times[f"fbs int8, both sides, {density:g}"],
        )
        for density in DENSITIES
    ]
