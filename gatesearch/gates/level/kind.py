"""The gate kind ``level``, which stops a window by one statistic of its samples: parameters, sites and work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from gatesearch.gates.kind import GateKind
from gatesearch.gates.level.gate import LevelGate
from gatesearch.gates.level.statistics import BINS, MAX_FRAMES, POINTS, STATISTICS
from gatesearch.gates.params import GateError, GateParams, param, recall_param
from gatesearch.gates.work import CutWork
from gatesearch.graph.sites import CutSite
from gatesearch.graph.sites.site import INPUT

FRAME_SAMPLES = 320  # 20 ms at 16 kHz
MIN_FRAMES = 10


@dataclass(frozen=True)
class LevelParams(GateParams):
    """Parameters of a ``level`` gate."""

    statistic: str = param(
        "spread",
        choices=tuple(STATISTICS),
        among=tuple(STATISTICS),
        new_program=True,
        doc="the statistic of a window: spread or mean of its frames' levels, or flatness of its spectrum",
    )
    frame: int = param(
        FRAME_SAMPLES,
        low=1,
        new_program=True,
        doc="samples of a frame; 320 are 20 ms at 16 kHz; flatness ignores it",
    )
    recall: float = recall_param()


class Level(GateKind[CutSite, LevelParams]):
    """The gate kind ``level``, for the input of a backbone that reads a waveform of one channel.

    The waveform has to be at least ten frames of 320 samples long. Some front ends, such as ``wave``, scale each window
    to the same level; spread and flatness do not change with that scale.
    """

    name = "level"
    site_type = CutSite
    Params = LevelParams

    def fits(self, site: CutSite) -> bool:
        """Say whether the site is the input and holds one waveform."""
        is_wave = site.elements == max(site.shape, default=0)
        return site.name == INPUT and is_wave and site.elements >= MIN_FRAMES * FRAME_SAMPLES

    def check(self, site: CutSite, params: LevelParams) -> None:
        """Check that a window holds ``MIN_FRAMES`` to ``MAX_FRAMES`` frames of the length in ``params``.

        Raises:
            GateError: a window holds fewer or more frames.
        """
        frames = site.elements // params.frame
        if not MIN_FRAMES <= frames <= MAX_FRAMES:
            shortest, longest = -(-site.elements // MAX_FRAMES), site.elements // MIN_FRAMES
            raise GateError(
                f"frame: {params.frame} samples make {frames} frames of {site.elements} samples; "
                f"wanted: {shortest} to {longest} samples"
            )

    def build(
        self, site: CutSite, params: LevelParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> LevelGate:
        """Build the gate; see :class:`LevelGate`."""
        return LevelGate(params.statistic, site.elements, params.frame, params.recall)

    def work(self, site: CutSite, params: LevelParams, observed: Mapping[str, float] | None = None) -> CutWork:
        """Return the work of the exported statistic, one filter over the samples, or 62 for the flatness.

        All samples cross the cut.
        """
        if params.statistic == "flatness":
            filters, width = 2 * BINS, POINTS
        else:
            filters, width = 1, params.frame
        return CutWork(
            macs=site.elements // width * width * filters,
            params=filters * width,
            density=1.0,
            kept_channels=site.channels,
            elements=site.elements,
        )
