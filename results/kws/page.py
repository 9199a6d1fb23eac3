"""Rows, page and plot of the ``kws`` benchmark: Gated Compression on a keyword spotter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gatesearch._lib.timing import fingerprint
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.plan import GatePlan
from gatesearch.report.figures import write_front_png
from gatesearch.report.rows import RESULTS, Row, markdown_table, median_and_range
from results.benchmark import Benchmark, Draw, describe_machine
from results.kws.measure import KINDS, REAL, RECALLS, RUNS, Outcome, Trade
from results.whole_runs import SPEECH_PROTOCOL, percent, share_stopped, share_stopped_first

Get = Callable[[Outcome], float]
# Lines of the first table: the name of a figure, a function that returns it, and the value of the paper or of a probe.
LINES: tuple[tuple[str, Get, str], ...] = (
    ("accuracy, ungated backbone, %", lambda o: o.ungated.accuracy, ""),
    ("accuracy, picked plan, %", lambda o: o.picked.accuracy, "kept or improved"),
    ("difference, points", lambda o: o.picked.accuracy - o.ungated.accuracy, ""),
    ("12-class accuracy, ungated, %", lambda o: o.ungated.accuracy_all_classes, ""),
    ("12-class accuracy, picked, %", lambda o: o.picked.accuracy_all_classes, ""),
    ("gate recall, picked plan, %", lambda o: o.picked.gate_recall, ""),
    ("silence stopped at the first gate, %", lambda o: share_stopped_first(o.picked, "_silence_"), ""),
    ("silence stopped by the first gate at recall .97 (curve), %", lambda o: _first_silence(o), ""),
    ("silence stopped by any gate, %", lambda o: share_stopped(o.picked, "_silence_"), ""),
    ("unknown words stopped by any gate, %", lambda o: share_stopped(o.picked, "_unknown_"), ""),
    ("negatives of the stream stopped, %", lambda o: o.summary["best"]["early_stop_rate_stream"], "up to 96"),
    ("zeros in what passes (positives), %", lambda o: o.summary["best"]["activation_sparsity"], "97"),
    ("expected MACs saved, %", lambda o: 1 - o.picked_macs / o.macs, "59.67"),
    ("one gate after blocks.2: gate recall, %", lambda o: o.deep.gate_recall, ""),
    (
        "one gate after blocks.2: unknown words stopped, %",
        lambda o: share_stopped(o.deep, "_unknown_"),
        "53 (probe, at 97.4)",
    ),
    ("one gate after blocks.2: all negatives stopped, %", lambda o: o.deep.early_stop_rate, "76 (probe, at 97.4)"),
    ("one gate after blocks.2: expected MACs saved, %", lambda o: 1 - o.deep_macs / o.macs, ""),
    ("bundle and model, same gate, %", lambda o: o.parity["gate_agreement"], ""),
    ("bundle and model, same answer, %", lambda o: o.parity["prediction_agreement"], ""),
)


class KeywordSpotting(Benchmark):
    """The benchmark of the keyword spotter on real and on synthetic speech.

    Args:
        command: command that repeats the benchmark.
        real: outcomes on real speech by seed; empty without recordings.
        synthetic: outcome on synthetic speech.
        results: folder of all benchmarks.
    """

    name = "kws"

    def __init__(self, command: str, real: Mapping[int, Outcome], synthetic: Outcome, results: Path = RESULTS) -> None:
        super().__init__(command, results)
        self.real, self.synthetic = real, synthetic

    def rows(self) -> list[Row]:
        """Return every figure of the runs on real speech, or of the synthetic run if there is no real run."""
        outcomes = self.real or {0: self.synthetic}
        synthetic = next(iter(outcomes.values())).summary["data"]["synthetic"]
        protocol = f"{SPEECH_PROTOCOL[synthetic]}; test split, hard cascade, thresholds of the exported int8 artifacts"

        def row(name: str, get: Get, unit: str = "share", target: str | None = None, how: str = "measured") -> Row:
            values = {seed: float(get(outcome)) for seed, outcome in outcomes.items()}
            return self.row(name, values, unit, protocol=protocol, provenance=how, target=target)

        return [
            row("accuracy, ungated", lambda o: o.ungated.accuracy),
            row("accuracy, picked plan", lambda o: o.picked.accuracy),
            row("accuracy, picked minus ungated", lambda o: o.picked.accuracy - o.ungated.accuracy, target=">= -0.005"),
            row("gate recall, picked plan", lambda o: o.picked.gate_recall, target=">= 0.97"),
            row(
                "silence stopped at the first gate",
                lambda o: share_stopped_first(o.picked, "_silence_"),
                target=">= 0.98",
            ),
            row("silence stopped by the first gate at recall .97 (curve)", _first_silence, target=">= 0.98"),
            row("silence stopped", lambda o: share_stopped(o.picked, "_silence_")),
            row("unknown words stopped", lambda o: share_stopped(o.picked, "_unknown_")),
            row("one deep gate: gate recall", lambda o: o.deep.gate_recall, target=">= 0.97"),
            row(
                "one deep gate: unknown words stopped",
                lambda o: share_stopped(o.deep, "_unknown_"),
                target="> 0.53 (probe)",
            ),
            row("one deep gate: all negatives stopped", lambda o: o.deep.early_stop_rate, target="> 0.76 (probe)"),
            row("expected MACs saved", lambda o: 1 - o.picked_macs / o.macs, target=">= 0.60"),
            row("gate agreement of the bundle", lambda o: o.parity["gate_agreement"], target=">= 0.995"),
            row("answer agreement of the bundle", lambda o: o.parity["prediction_agreement"], target=">= 0.99"),
            row("streaming time, ungated over gated", lambda o: o.summary["streaming"]["ratio"], "x"),
            row("energy gain end to end", lambda o: o.summary["best"]["gain_end_to_end"], "x", how="modelled"),
        ]

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template: tables and sizes."""
        real, synthetic = list(self.real.values()), [self.synthetic]
        lines = [[name, percent(real, get), percent(synthetic, get), printed] for name, get, printed in LINES]
        heads = ["", f"real speech, {len(real)} seeds", "synthetic speech, 1 seed", "published (GC, arXiv 2303.08970)"]
        return {
            "figures": markdown_table(heads, lines),
            "first_gate": self._trade_table(lambda o: o.first_trade),
            "deep_gate": self._trade_table(lambda o: o.trade),
            "plans": self._plan_table(),
            "data": (real or synthetic)[0].summary["data"],
            "real_settings": " ".join(REAL),
            "windows": self.synthetic.summary["streaming"]["windows"],
            "machine": describe_machine(fingerprint()),
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the plot of the front of the first run on real speech, or of the synthetic run if there is none."""
        run = f"real-{next(iter(self.real))}" if self.real else "synthetic"
        return {"front.png": lambda path: write_front_png(RunFolder(RUNS / run).read_json("record.json"), path)}

    def _trade_table(self, get: Callable[[Outcome], Trade]) -> str:
        lines = []
        for kind in KINDS:
            for name, outcomes in (("real", list(self.real.values())), ("synthetic", [self.synthetic])):
                trades = [get(outcome)[kind] for outcome in outcomes if kind in get(outcome)]
                if trades:
                    cells = [median_and_range([100 * trade[recall] for trade in trades]) for recall in RECALLS]
                    lines.append([kind, name, *cells])
        return markdown_table(["stopped, %", "speech", *(f"recall {recall:g}" for recall in RECALLS)], lines)

    def _plan_table(self) -> str:
        heads = ["seed", "picked plan", "plans trained", "ungated us", "gated us", "ratio", "energy gain", "run, s"]
        named = [(str(seed), outcome) for seed, outcome in self.real.items()]
        return markdown_table(heads, [_plan_line(*pair) for pair in [*named, ("synthetic", self.synthetic)]])


def _plan_line(name: str, outcome: Outcome) -> Sequence[str]:
    summary = outcome.summary
    best, streaming = summary["best"], summary["streaming"]
    return [
        name,
        str(GatePlan.from_dict(best["plan"])),
        f"{summary['search']['evaluated']}",
        f"{streaming['ungated_us']:.1f}",
        f"{streaming['gated_us']:.1f}",
        f"{streaming['ratio']:.2f}",
        f"{best['gain_end_to_end']:.3f}",
        f"{summary['seconds']:.0f}",
    ]


def _first_silence(outcome: Outcome) -> float:
    return outcome.first_trade.get("_silence_", {}).get(0.97, 0.0)
