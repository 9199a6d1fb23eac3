"""Compares the exported bundle with the ungated network's program: time on this host, bytes, and price on the device.

A gate that saves multiplications may still cost time, because its program is slower. So a run says whether its files
pay, before any other result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatesearch._lib.format import format_si
from gatesearch.devices.profile import Device
from gatesearch.export.shortcomings import count_bytes
from gatesearch.runtime.stream_timing import StreamTiming


@dataclass(frozen=True, slots=True)
class ArtifactComparison:
    """Figures of the bundle and of the ungated program.

    Args:
        gated_us, ungated_us: measured time of a window on this host, in turn, on one thread [us].
        gated_bytes, ungated_bytes: size of the programs.
        number_format: number format of the ungated program, such as ``"int8"``.
        device: name of the device.
        gated_price_us, ungated_price_us: expected latency of a window on the device [us]; None if an imagined engine
            runs one of its cores.
    """

    gated_us: float
    ungated_us: float
    gated_bytes: int
    ungated_bytes: int
    number_format: str
    device: str
    gated_price_us: float | None = None
    ungated_price_us: float | None = None

    def verdict(self) -> str | None:
        """Return one line that says in which quantities the bundle is worse; None if it is worse in none.

        >>> sizes = dict(gated_bytes=900, ungated_bytes=600, number_format="int8", device="host")
        >>> ArtifactComparison(gated_us=8.0, ungated_us=9.0, **sizes).verdict()
        'the exported bundle is larger than the ungated int8 program: 900 against 600 bytes (1.50 times)'
        """
        defects = list(self._defects())
        if not defects:
            return None
        adjectives = " and ".join(dict.fromkeys(adjective for adjective, _ in defects))
        figures = "; ".join(figure for _, figure in defects)
        return f"the exported bundle is {adjectives} than the ungated {self.number_format} program: {figures}"

    def _defects(self) -> Iterator[tuple[str, str]]:
        """Yield an adjective and figures for each quantity in which the bundle is worse."""
        if self.gated_us > self.ungated_us:
            yield (
                "slower",
                f"{_versus(self.gated_us, self.ungated_us)} on this host ({self.gated_us / self.ungated_us:.2f} times)",
            )
        if self.gated_price_us and self.ungated_price_us and self.gated_price_us > self.ungated_price_us:
            ratio = self.gated_price_us / self.ungated_price_us
            yield (
                "slower",
                f"{_versus(self.gated_price_us, self.ungated_price_us)} expected on {self.device} ({ratio:.2f} times)",
            )
        if self.gated_bytes > self.ungated_bytes:
            ratio = self.gated_bytes / self.ungated_bytes
            yield "larger", f"{self.gated_bytes:,} against {self.ungated_bytes:,} bytes ({ratio:.2f} times)"


def compare_artifacts(
    manifest: Mapping[str, Any],
    stream: StreamTiming,
    ungated_bytes: int,
    device: Device,
    prices_us: tuple[float, float],
) -> ArtifactComparison | None:
    """Return the comparison of a bundle with the ungated program; None for a plan without gates.

    Without gates, the bundle holds the ungated program itself.

    Args:
        manifest: the manifest of the bundle.
        stream: times of the bundle and of the ungated program on this host.
        ungated_bytes: size of the ungated program.
        device: the device of the plan.
        prices_us: expected latency of the plan and of the ungated network on the device [us].
    """
    if not manifest["plan"]["gates"]:
        return None
    imagined = any(core.engine == "imagined" for core in device.cores)
    gated_price_us, ungated_price_us = (None, None) if imagined else prices_us
    return ArtifactComparison(
        gated_us=stream.gated_us,
        ungated_us=stream.ungated_us,
        gated_bytes=count_bytes(manifest),
        ungated_bytes=ungated_bytes,
        number_format=read_ungated_format(manifest),
        device=device.name,
        gated_price_us=gated_price_us,
        ungated_price_us=ungated_price_us,
    )


def read_ungated_format(manifest: Mapping[str, Any]) -> str:
    """Return the number format of the ungated program that a bundle's manifest names."""
    return str(manifest.get("ungated", {}).get("arithmetic", "int8"))  # bundles of version 0.1 may lack it


def _versus(gated_us: float, ungated_us: float) -> str:
    return f"{format_si(gated_us * 1e-6, 's')} against {format_si(ungated_us * 1e-6, 's')} a window"
