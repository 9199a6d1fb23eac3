"""Rows, page and plot of the ``vit_gc`` benchmark: Gated Compression on a keyword transformer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from gatesearch._lib.timing import fingerprint
from gatesearch.plan import GatePlan
from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import Benchmark, Draw, describe_machine
from results.vit_gc import plot
from results.vit_gc.measure import Outcome
from results.whole_runs import SPEECH_PROTOCOL, percent

Get = Callable[[Outcome], float]
# Figures that the page gives for each prevalence: name, key, and the published figure.
SWEEP_FIGURES = (
    ("energy gain end to end", "gain_end_to_end", None),
    ("bound of any gate's gain", "bound", None),
    ("idealised gain", "gain_idealised", "158 to 30,000 (2405.01739, theoretical)"),
)


class KeywordTransformer(Benchmark):
    """The benchmark of Gated Compression on a keyword transformer.

    Args:
        command: command that repeats the benchmark.
        outcomes: outcomes by seed.
        settings: overrides of the recipe, in addition to those of the command.
        results: folder of all benchmarks.
    """

    name = "vit_gc"

    def __init__(
        self, command: str, outcomes: Mapping[int, Outcome], settings: Sequence[str], results: Path = RESULTS
    ) -> None:
        super().__init__(command, results)
        self.outcomes, self.settings = outcomes, settings

    @property
    def first(self) -> Outcome:
        """The first seed's outcome."""
        return next(iter(self.outcomes.values()))

    def rows(self) -> list[Row]:
        """Return the figures of the picked plan, and its gains at each prevalence."""
        synthetic = bool(self.first.summary["data"]["synthetic"])
        protocol = (
            f"{SPEECH_PROTOCOL[synthetic]}; test split, hard cascade, thresholds of the exported artifacts; gates of "
            "one plan, negatives mixed as the recipe's stream"
        )

        def row(
            name: str, get: Get, unit: str = "share", target: str | None = None, provenance: str = "measured"
        ) -> Row:
            values = {seed: float(get(outcome)) for seed, outcome in self.outcomes.items()}
            return self.row(name, values, unit, protocol=protocol, provenance=provenance, target=target)

        rows = [
            row("accuracy, ungated", lambda o: o.summary["baseline"]["accuracy"]),
            row("accuracy, picked plan", lambda o: o.best["accuracy"]),
            row("accuracy, picked minus ungated", _accuracy_change, target="kept or improved"),
            row("gate recall", lambda o: o.best["gate_recall"]),
        ]
        for kind in self.first.best["early_stop_by_kind"]:
            rows.append(row(f"{kind} stopped", partial(_stopped, key="early_stop_by_kind", kind=kind)))
        rows += [
            row(
                "negatives of the stream stopped",
                lambda o: o.best["early_stop_rate_stream"],
                target="up to 0.96 (GC)",
            ),
            row("the same, at least (95 %)", lambda o: o.best["early_stop_rate_stream_at_least"]),
            row("zeros in what passes", lambda o: o.best["activation_sparsity"], target="0.97 (GC)"),
            row("answer agreement of the bundle", lambda o: o.summary["export"]["parity"]["prediction_agreement"]),
            row("gate agreement of the bundle", lambda o: o.summary["export"]["parity"]["gate_agreement"]),
            row("answer agreement, ungated in int8", lambda o: o.int8["agreement"]),
        ]
        for prevalence in self._prevalences():
            for name, key, published in SWEEP_FIGURES:
                # An infinite gain is None and gets no row; the page prints "infinite".
                if all(o.sweep(prevalence)[key] is not None for o in self.outcomes.values()):
                    get = partial(_gain, prevalence=prevalence, key=key)
                    rows.append(row(f"{name} at prevalence {prevalence:g}", get, "x", published, "modelled"))
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template: tables and sizes."""
        outcomes = list(self.outcomes.values())
        data = self.first.summary["data"]
        return {
            "figures": self._figures(),
            "seeds": ", ".join(map(str, self.outcomes)),
            "settings": " ".join(self.settings),
            "speech": SPEECH_PROTOCOL[data["synthetic"]],
            "data": data,
            "sweep": self._sweep_table(),
            "mix": _mix(self.first),
            "negatives_only": self._negatives_table(),
            "plans": self._plan_table(),
            "int8_agreement": percent(outcomes, lambda o: o.int8["agreement"]),
            "int8_accuracy": percent(outcomes, lambda o: o.int8["accuracy"]),
            "machine": describe_machine(fingerprint()),
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the plot of gains by prevalence."""
        return {"vit_gc.png": lambda path: plot.draw(self.outcomes, path)}

    def _prevalences(self) -> list[float]:
        return [row["prevalence"] for row in self.first.best["prevalence"]]

    def _figures(self) -> str:
        outcomes = list(self.outcomes.values())
        lines: list[list[str]] = []

        def line(name: str, get: Get, published: str = "") -> None:
            lines.append([name, percent(outcomes, get), published])

        line("accuracy, ungated backbone, %", lambda o: o.summary["baseline"]["accuracy"])
        line("accuracy, picked plan, %", lambda o: o.best["accuracy"], "kept or improved")
        line("difference, points", _accuracy_change)
        line("12-class accuracy, ungated, %", lambda o: o.record["reference"]["accuracy_all_classes"])
        line("12-class accuracy, picked, %", lambda o: o.best["accuracy_all_classes"])
        line("gate recall, %", lambda o: o.best["gate_recall"])
        for kind in self.first.best["early_stop_by_kind"]:
            first = partial(_stopped, key="first_gate_stop_by_kind", kind=kind)
            line(f"{kind} stopped at the first gate, %", first)
            line(f"{kind} stopped by any gate, %", partial(_stopped, key="early_stop_by_kind", kind=kind))
        line("negatives of the stream stopped, %", lambda o: o.best["early_stop_rate_stream"], "up to 96")
        line("zeros in what passes (positives), %", lambda o: o.best["activation_sparsity"], "97")
        line("zeros at the same places without gates, %", _ungated_zeros)
        line("expected MACs saved, %", lambda o: 1 - o.best["expected_macs"] / o.summary["baseline"]["macs"])
        line("bundle and model, same gate, %", lambda o: o.summary["export"]["parity"]["gate_agreement"])
        line("bundle and model, same answer, %", lambda o: o.summary["export"]["parity"]["prediction_agreement"])
        seeds = f"{len(outcomes)} seed{'s' * (len(outcomes) > 1)}"
        return markdown_table(["", seeds, "published (GC, arXiv 2303.08970)"], lines)

    def _sweep_table(self) -> str:
        lines = []
        for place in range(len(self._prevalences())):
            for seed, outcome in self.outcomes.items():
                row = outcome.best["prevalence"][place]
                reach = f"1 of {1 / row['reach']:,.3g}" if row["reach"] else "never"
                gains = [format_gain(row[key]) for key in ("gain_end_to_end", "bound", "gain_idealised")]
                energy = f"{row['expected_energy_uj']:,.0f}"
                lines.append([f"{row['prevalence']:g}", str(seed), reach, energy, *gains])
        heads = ["prevalence", "seed", "windows that reach the last stage", "energy a window, uJ", "gain end to end"]
        return markdown_table([*heads, "bound of any gate", "idealised"], lines)

    def _negatives_table(self) -> str:
        lines = []
        for seed, outcome in self.outcomes.items():
            best = outcome.best
            stopped = [best["early_stop_rate_stream"], best["early_stop_rate_stream_at_least"]]
            gains = [best["gain_paper_style"], best["gain_paper_style_at_least"]]
            lines.append(
                [
                    str(seed),
                    *(f"{100 * share:.2f}" for share in stopped),
                    f"{100 * best['activation_sparsity']:.1f}",
                    *map(format_gain, gains),
                    "158x to 30,000x",
                ]
            )
        heads = ["seed", "ES of the stream, %", "at least, %", "AS, %", "idealised, negatives only", "at least"]
        return markdown_table([*heads, "published (2405.01739)"], lines)

    def _plan_table(self) -> str:
        lines = []
        for seed, outcome in self.outcomes.items():
            summary, plan = outcome.summary, outcome.best["plan"]
            stages = zip(plan["cores"], outcome.arithmetic, strict=True)
            lines.append(
                [
                    str(seed),
                    str(GatePlan.from_dict(plan)),
                    " > ".join(f"{core} {arithmetic}" for core, arithmetic in stages),
                    str(summary["search"]["evaluated"]),
                    f"{summary['streaming']['ungated_us']:.1f}",
                    f"{summary['streaming']['gated_us']:.1f}",
                    f"{summary['seconds']:.0f}",
                ]
            )
        heads = ["seed", "picked plan", "stages", "plans trained", "ungated us", "gated us", "run, s"]
        return markdown_table(heads, lines)


def format_gain(gain: float | None) -> str:
    """Return a gain as text.

    >>> format_gain(1.234), format_gain(1234.5), format_gain(None)
    ('1.23x', '1,234x', 'infinite')
    """
    if gain is None:
        return "infinite"
    return f"{gain:,.0f}x" if gain >= 100 else f"{gain:.3g}x"


def _accuracy_change(outcome: Outcome) -> float:
    return float(outcome.best["accuracy"] - outcome.summary["baseline"]["accuracy"])


def _stopped(outcome: Outcome, key: str, kind: str) -> float:
    return float(outcome.best[key].get(kind, 0.0))


def _gain(outcome: Outcome, prevalence: float, key: str) -> float:
    gain = outcome.sweep(prevalence)[key]
    assert gain is not None
    return gain


def _ungated_zeros(outcome: Outcome) -> float:
    zeros = [gate["activation_sparsity"]["ungated_element"] for gate in outcome.record["gates"]]
    return sum(zeros) / len(zeros) if zeros else 0.0


def _mix(outcome: Outcome) -> str:
    shares = {kind: share for kind, share in outcome.record["data"]["stream"].items() if kind != "positive"}
    return ", ".join(f"{kind} {share / sum(shares.values()):.0%}" for kind, share in shares.items())
