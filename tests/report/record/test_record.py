"""Tests of the table that a run prints at its end; whole runs in tests/pipeline test the rest of the record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gatesearch.devices import profile
from gatesearch.pipeline.final_record import describe_engine
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.report.record import RunRecord
from gatesearch.report.record.gates import stage_rows
from gatesearch.report.terminal import print_summary
from gatesearch.training import Classification

CUT = PlacedGate.of("gc", "stem", keep=0.5)
LAYERS = tuple(PlacedGate.of("pg", f"conv{i}", bits=8) for i in range(3))
STOPS = {"positives that pass all gates", "noise stopped"}
REMAINING_MACS = "remaining MACs of gated layers"


def printed(capsys: pytest.CaptureFixture[str], *gates: PlacedGate) -> str:
    """Return the printed summary of a plan with these gates; its figures are made up."""
    inside = [{"site": gate.site, "kind": gate.kind} for gate in gates if gate.kind == "pg"]
    plan = GatePlan(gates, ("mcu", "npu"))
    best: dict[str, Any] = {
        **{"accuracy": 0.98, "precision": 0.97, "recall": 0.96, "gate_recall": 0.99, "gain_end_to_end": 1.2},
        **{"early_stop_by_kind": {"noise": 0.7}, "plan": plan.to_dict(), "layer_gates": inside},
        **{"expected_macs": 5e5, "expected_latency_us": 40.0, "expected_energy_uj": 7.0},
        "layer_macs": {"dense": 737_280, "left": 420_604.5} if inside else {"dense": 0, "left": 0},
    }
    baseline = {"accuracy": 0.99, "macs": 1e6, "latency_us": 90.0, "energy_uj": 9.0, "core": "mcu"}
    artifact = {"core": "mcu", "stage": 0, "path": "mcu/stage0.tflite"}
    summary = {
        **{"recipe": "digits", "baseline": baseline, "best": best, "data": {"synthetic": False}},
        "export": {"artifacts": [artifact]},
        "sensitivity": {"constants": [], "groups": []},
    }
    goal = Classification(torch.tensor([True, False]), ("positive", "noise"))
    quality_rows = goal.summary_rows({"accuracy": 0.99, "precision": 0.95, "recall": 0.94}, best)
    record = RunRecord(summary, {"energy": {"bound": 1.5}, "headlines": []})
    print_summary(record, quality_rows, "host", "runs/digits-1/best/bundle")
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("gates", "there", "absent"),
    [
        ((CUT,), STOPS, {REMAINING_MACS}),
        (LAYERS, {REMAINING_MACS, "737 k", "421 k, 57.0 %", "pg@conv0, conv1, conv2(bits=8) on"}, STOPS),
        ((CUT, *LAYERS), STOPS | {REMAINING_MACS}, set()),
        ((), {"expected MACs"}, STOPS | {REMAINING_MACS}),
    ],
)
def test_rows_belong_to_the_gates_of_the_plan(
    gates: tuple[PlacedGate, ...],
    there: set[str],
    absent: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    text_printed = printed(capsys, *gates)
    assert all(text in text_printed for text in there)
    assert not any(text in text_printed for text in absent)
    table = text_printed[: text_printed.index("plan: ")].splitlines()
    assert max(map(len, table)) <= 100


def test_the_engine_names_its_arithmetic() -> None:
    def engine(*arithmetic: str, ungated: str = "int8") -> str:
        return describe_engine(
            {"stages": [{"arithmetic": one} for one in arithmetic], "ungated": {"arithmetic": ungated}}
        )

    assert engine("int8", "int8") == "LiteRT int8"
    assert engine("int8", "float32") == "LiteRT (gated float32 and int8, ungated int8)"
    assert engine("float32", ungated="float32") == "LiteRT float32"
    assert engine("int8", ungated="float32") == "LiteRT (gated int8, ungated float32)"


def test_the_work_of_a_stage_follows_the_observed_density() -> None:
    observed_layers = {"conv0": {"density": 0.5}}

    def stages(plan: GatePlan, densities: list[float], observed: Any) -> list[Any]:
        cost = SimpleNamespace(core="mcu", latency_us=1.0)
        macs = 1000 * observed["conv0"]["density"]
        sites = {"first_site": "input", "last_site": "output"}
        return [SimpleNamespace(cost=cost, macs=macs, flash_bytes=1, exit=None, provenance="modelled", **sites)]

    cost: Any = SimpleNamespace(stages=stages, device=profile.load("host"))
    price: Any = SimpleNamespace(reach=(1.0,), energy=SimpleNamespace(by_stage=[{"compute": 2.0}]))
    quality: Any = SimpleNamespace(layers=observed_layers, passed={"positive": (1.0,)})
    [row] = stage_rows(cost, GatePlan((), ("mcu",)), price, quality, [])
    assert row["macs"] == 500 and row["reach"] == {"stream": 1.0, "positive": 1.0}
