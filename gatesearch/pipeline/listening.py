"""Measures the CPU time of listening to the test stream on the host, for the best plan and for the ungated network."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch.cost.factory import tools_in_one_line
from gatesearch.errors import DataError, UserError
from gatesearch.pipeline.export import UNGATED, PlanBundle, write_bundle
from gatesearch.pipeline.pick import BestPlan
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.stream_sound import read_test_sound
from gatesearch.runtime.listening_timing import ListeningTiming, time_listening

LISTENING_FILE = "logs/listening.json"


def measure_listening(
    problem: Problem, bundle: PlanBundle, best: BestPlan, folder: RunFolder
) -> ListeningTiming | None:
    """Return the CPU time of listening to the test stream; None where nothing listens hop by hop.

    The ungated network gets a bundle of its own for the measurement, so that the same code runs both. A stored
    measurement of the same bundle is not repeated.
    """
    sound = read_test_sound(problem)
    if sound is None or problem.hops is None or bundle.manifest.get("hops") is None:
        return None
    weights = bundle.manifest["made_from"]["weights"]
    stored = folder.load(LISTENING_FILE, _parse, "listening is measured again")
    if stored is not None and stored[0] == weights:
        return stored[1]
    try:
        with tempfile.TemporaryDirectory() as place, tools_in_one_line():
            ungated = Path(place) / "ungated"
            write_bundle(problem, ungated, best.ungated, {}, formats=())
            timing = time_listening(bundle.path, ungated, (folder / UNGATED).read_bytes(), sound)
    except (UserError, DataError) as error:
        console.warn(f"listening: CPU time not measured: {error}")
        return None
    folder.write_json(LISTENING_FILE, {"weights": weights, **asdict(timing)})
    return timing


def listening_entry(timing: ListeningTiming | None) -> dict[str, Any] | None:
    """Return the entry ``listening`` of summary.json."""
    if timing is None:
        return None
    return {
        **asdict(timing),
        "short_hop_windows_s": timing.short_hop_windows_s,
        "windows_ratio": timing.windows_ratio,
        "hops_ratio": timing.hops_ratio,
    }


def _parse(text: bytes) -> tuple[str, ListeningTiming]:
    values: Mapping[str, Any] = json.loads(text)
    return values["weights"], ListeningTiming(**{key: value for key, value in values.items() if key != "weights"})
