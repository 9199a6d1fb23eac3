"""Reads published.json: the boards whose times, energies and powers are published, and where each figure comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FILE = Path(__file__).parent / "published.json"


@dataclass(frozen=True)
class Part:
    """A microcontroller.

    Args:
        title: its name, for pages.
        core: its processor core.
        table: the kernel table that prices it; None for a part without such a core.
        mhz: the clock of the figures.
        mhz_stated: whether the submission states the clock; else it is the highest clock of the part.
    """

    title: str
    core: str
    table: str | None
    mhz: float
    mhz_stated: bool


@dataclass(frozen=True)
class System:
    """A part with an organisation's software, and its figures by task.

    Args:
        part: key of the part.
        organisation: who submitted the figures.
        round: the round of MLPerf Tiny.
        system: name of the system in that round.
        ms: latency of an inference.
        ms_provenance: ``"published"``, or ``"derived"`` if it is the energy divided by the power.
        uj: energy of an inference.
        mw: mean power during inferences.
        supply: voltage and regulator of the energy runs.
    """

    part: str
    organisation: str
    round: str
    system: str
    ms: Mapping[str, float]
    ms_provenance: Literal["published", "derived"]
    uj: Mapping[str, float] = field(default_factory=dict)
    mw: Mapping[str, float] = field(default_factory=dict)
    supply: str = ""


@dataclass(frozen=True)
class Stream:
    """A run of the streaming wake word.

    Args:
        part: key of the part.
        mhz: the clock of the run.
        mean_mw: mean power over 1,200 s.
        duty: share of the time in which the core computes.
        floor_mw: power between the computations, while audio streams in; None if no plot shows it.
        supply: voltage and regulator.
        has_coprocessor: whether a coprocessor computes the network.
    """

    part: str
    mhz: float
    mean_mw: float
    duty: float
    floor_mw: float | None
    supply: str = ""
    has_coprocessor: bool = False

    @property
    def active_mw(self) -> float | None:
        """Power while the core computes, derived from mean power, duty and floor; None without a floor."""
        if self.floor_mw is None:
            return None
        return (self.mean_mw - (1 - self.duty) * self.floor_mw) / self.duty


@dataclass(frozen=True)
class Npu:
    """A part's neural processing unit (NPU), an Arm Ethos-U.

    Args:
        title: name of the part.
        accelerator: Vela's name of the NPU.
        accelerator_source: where its number of multiply-accumulates a cycle comes from.
        mhz: its clock.
        system_config: Vela's configuration of the memories' speeds.
        memories: words for each of Vela's memory modes.
        ms: published time of an inference, by memory mode and task.
        source: where the times come from.
    """

    title: str
    accelerator: str
    accelerator_source: str
    mhz: float
    system_config: str
    memories: Mapping[str, str]
    ms: Mapping[str, Mapping[str, float]]
    source: str


@dataclass(frozen=True)
class Published:
    """All published figures.

    Args:
        parts: parts by key.
        systems: systems, grouped by part, the fastest of a part first.
        streams: runs of the streaming wake word.
        npus: NPUs with times of the networks.
    """

    parts: Mapping[str, Part]
    systems: tuple[System, ...]
    streams: tuple[Stream, ...]
    npus: tuple[Npu, ...]


def load() -> Published:
    """Return the figures of published.json."""
    tree = json.loads(FILE.read_text(encoding="utf-8"))
    return Published(
        parts={key: Part(**part) for key, part in tree["parts"].items()},
        systems=tuple(System(**system) for system in tree["systems"]),
        streams=tuple(Stream(**stream) for stream in tree["streams"]),
        npus=tuple(Npu(**npu) for npu in tree["npus"]),
    )
