"""Computes the ratios of times that the ``kernels`` benchmark reports, and holds the targets of these ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from results.kernels.cases import DENSITIES, HIDDEN, LAYERS, PRECISION

TIMINGS = ("minimum_us", "median_us")


@dataclass(frozen=True, slots=True)
class Times:
    """The times of the calls of one case [us]: the minimum over rounds for all calls, or the median for all."""

    calls: Mapping[str, float]

    @classmethod
    def read(cls, measurement: Mapping[str, Any], timing: str) -> Times:
        """Return the times of a measured case; ``timing`` is one of :data:`TIMINGS`."""
        return cls({name: call[timing] for name, call in measurement["times"].items()})

    def __getitem__(self, name: str) -> float:
        return self.calls[name]

    def get(self, name: str) -> float | None:
        """Return the time of a call, or None if it was not timed."""
        return self.calls.get(name)

    def best(self, names: Iterable[str]) -> tuple[str, float]:
        """Return the name and the time of the fastest of some calls."""
        name = min(names, key=self.calls.__getitem__)
        return name, self.calls[name]

    def named(self, start: str) -> list[str]:
        """Return the names of the calls that begin with ``start``."""
        return [name for name in self.calls if name.startswith(start)]

    def second_phase(self, mask: str, sparsity: float) -> float:
        """Return the time that precision gating (PG) takes for the low bits.

        This is the time of the gated layer minus its time with no open output. Kernels compute 3-D masks in two ways:
        single outputs, or blocks. The faster way counts.
        """
        closed = self.calls[f"16/8 {mask} 1"]
        names = [f"16/8 {mask} {sparsity:g}"]
        if mask == "3d":
            names.append(f"16/8 3d blocks {sparsity:g}")
        return self.best(names)[1] - closed

    def layer(self, mask: str, sparsity: float) -> float:
        """Return the time of a gated layer; for 3-D masks, the time of the faster way."""
        return self.calls[f"16/8 {mask} 1"] + self.second_phase(mask, sparsity)


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio of times with a target.

    Args:
        name: name of the ratio.
        case: group and name of the case.
        ratio: function that computes the ratio from the times of the case.
        target: comparison such as ``>= 3``.
        bound: the largest ratio that the remaining work allows; None if there is no such bound.
    """

    name: str
    case: tuple[str, str]
    ratio: Callable[[Times], float]
    target: str
    bound: float | None = None


def kernel_targets() -> list[Target]:
    """Return every ratio with a target."""
    targets = [
        Target(
            name=f"own int8 product over torch._int_mm, {name}",
            case=("dense", name),
            ratio=lambda t: t["product: own"] / t.best(t.named("product: torch"))[1],
            target="<= 1.3",
        )
        for name in LAYERS
    ]
    targets.append(
        Target(
            name="fastest dense fp32 over FBS, density .5",
            case=("fbs", "16 x 16, 128 channels"),
            ratio=lambda t: t.best(t.named("fp32: "))[1] / t["fbs, both sides, 0.5"],
            target=">= 3",
            bound=4.0,
        )
    )
    for name in PRECISION:
        targets += [
            Target(
                name=f"own dense 16x8 over PG 16/8, M2 of 16, sparsity .7, {name}",
                case=("pg", name),
                ratio=lambda t: t["16/8 dense"] / t["16/8 m2-16 0.7"],
                target=">= 1.5",
                bound=2 / 1.3,
            ),
            Target(
                name=f"second phase of 3-D masks over that of M2 of 16, sparsity .7, {name}",
                case=("pg", name),
                ratio=lambda t: t.second_phase("3d", 0.7) / t.second_phase("m2-16", 0.7),
                target=">= 2",
            ),
        ]
    for size in HIDDEN:
        if size >= 256:
            targets += [
                Target(
                    name=f"fastest dense LSTM step over HMD at 4x, {size} units",
                    case=("rnn", f"{size} units"),
                    ratio=lambda t: t.best(["LSTM dense", "LSTM torch"])[1] / t["LSTM HMD"],
                    target=">= 3",
                    bound=4.0,
                ),
                Target(
                    name=f"fastest pruned LSTM step over HMD at 4x, {size} units",
                    case=("rnn", f"{size} units"),
                    ratio=lambda t: t.best(t.named("LSTM pruned"))[1] / t["LSTM HMD"],
                    target="> 1",
                ),
            ]
    return targets


def densities(times: Times) -> list[tuple[float, float, float, float]]:
    """Return how many times faster a gated layer is than the dense layer, for each density and in three cases.

    The gate is feature boosting and suppression (FBS).

    Returns:
        Tuples of four numbers: the density; the ratio with both sides gated in fp32; with only the output gated in
        fp32; with both sides gated in int8. Each is compared with the fastest dense layer in its own number format.
    """
    fastest = times.best(times.named("fp32: "))[1]
    return [
        (
            density,
            fastest / times[f"fbs, both sides, {density:g}"],
            fastest / times[f"fbs, output, {density:g}"],
            times.best(times.named("int8: "))[1] / times[f"fbs int8, both sides, {density:g}"],
        )
        for density in DENSITIES
    ]
