"""results/vit_gc.md."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gatesearch._lib.timing import fingerprint
from gatesearch.bench.results import markdown_table
from gatesearch.bench.runs import SPEECH_PROTOCOL, percent, versions
from gatesearch.plan import GatePlan

if TYPE_CHECKING:
    from gatesearch.bench.vit_gc import Outcome

PUBLISHED = (158, 30_000)  # arXiv 2405.01739, abstract: times, theoretical


def text(outcomes: Mapping[int, Outcome], command: str, settings: Sequence[str]) -> str:
    """Return the page."""
    every = list(outcomes.values())
    data = every[0].summary["data"]
    stamp = fingerprint()
    changed = f"recipes/kws_vit_gc.yaml{_with(settings)}, and what the command says"
    return f"""# Gated Compression on a keyword transformer

    {command}

{_figures(every)}

Median over seeds ({", ".join(map(str, outcomes))}), range in brackets, {changed}. {SPEECH_PROTOCOL[data["synthetic"]]};
{data["train"]} training, {data["validation"]} validation, {data["test"]} test clips with the first seed. Test split,
hard cascade, with the thresholds of the exported artifacts. A negative is right where nothing is reported; 12-class
accuracy tells silence from unknown words as well. These figures are **measured**.{_synthetic(data["synthetic"])}

## The rarer the positives

{_sweep(outcomes)}

![gain by prevalence](vit_gc.png)

One plan, its gates and thresholds as they are; only the stream changes: a share of positives, and the kinds of
negatives mixed as the recipe mixes them ({_mix(every[0])}). What each gate stops is **measured**; energy
is **modelled** on the device profile, whose powers are **assumed**. The bound is 1/phi, phi being the share of sensor,
front end and idle power in the ungated energy: no gate, however good, gains more end to end on this device.

*Idealised* is 1/(R (1 - AS)), R being the share of windows that reach the last stage and AS the share of zeros in what
passes: as if nothing cost anything but what is handed to the last stage. It is the kind of figure that 2405.01739
prints, whose 158x to 30,000x are theoretical. With negatives only, and so whatever the prevalence, it is
1/((1 - ES)(1 - AS)):

{_paper_style(outcomes)}

*At least* takes each kind of negative at its one-sided 95 % limit (Clopper and Pearson): a few hundred test clips
cannot show that a gate stops 999 of 1,000.

What differs from the published figures: model, data, sensors and how power is counted are others, and only the
abstract of that paper could be read. None of its figures are claimed here.

## The plans, and what each stage computes in

{_plans(outcomes)}

A stage that normalises layers, exponentiates or bends values (layer normalisation, softmax, GELU) is exported in float
for a core that runs float programs, and in int8 for one that does not. Over all stages in int8, the *ungated*
backbone gives {percent(every, lambda o: o.int8["agreement"])} % of the answers that it gives in PyTorch; its 12-class
accuracy is then {percent(every, lambda o: o.int8["accuracy"])} %. TensorFlow Lite Micro has no GELU, so a stage with
one never runs on the microcontroller.

Streaming time is **measured** on this host with LiteRT, one thread, host loop included, front end excluded.

Machine: {stamp.get("cpu", platform.processor())}, {stamp.get("cores", "?")} cores. Versions: {versions(stamp)}.
"""


def _figures(every: Sequence[Outcome]) -> str:
    lines: list[list[str]] = []

    def line(name: str, get: Any, published: str = "") -> None:
        lines.append([name, percent(every, get), published])

    def ungated_zeros(o: Outcome) -> float:
        found = [gate["activation_sparsity"]["ungated_element"] for gate in o.record["gates"]]
        return sum(found) / len(found) if found else 0.0

    line("accuracy, ungated backbone, %", lambda o: o.summary["baseline"]["accuracy"])
    line("accuracy, picked plan, %", lambda o: o.best["accuracy"], "kept or improved")
    line("difference, points", lambda o: o.best["accuracy"] - o.summary["baseline"]["accuracy"])
    line("12-class accuracy, ungated, %", lambda o: o.record["reference"]["accuracy_all_classes"])
    line("12-class accuracy, picked, %", lambda o: o.best["accuracy_all_classes"])
    line("gate recall, %", lambda o: o.best["gate_recall"])
    for kind in every[0].best["early_stop_by_kind"]:
        line(f"{kind} stopped at the first gate, %", lambda o, k=kind: o.best["first_gate_stop_by_kind"].get(k, 0.0))
        line(f"{kind} stopped by any gate, %", lambda o, k=kind: o.best["early_stop_by_kind"].get(k, 0.0))
    line("negatives of the stream stopped, %", lambda o: o.best["early_stop_rate_stream"], "up to 96")
    line("zeros in what passes (positives), %", lambda o: o.best["activation_sparsity"], "97")
    line("zeros at the same places without gates, %", ungated_zeros)
    line("expected MACs saved, %", lambda o: 1 - o.best["expected_macs"] / o.summary["baseline"]["macs"])
    line("bundle and model, same gate, %", lambda o: o.summary["export"]["parity"]["gate_agreement"])
    line("bundle and model, same answer, %", lambda o: o.summary["export"]["parity"]["prediction_agreement"])
    return markdown_table(["", f"{len(every)} seed{'s' * (len(every) > 1)}", "published (GC, arXiv 2303.08970)"], lines)


def _sweep(outcomes: Mapping[int, Outcome]) -> str:
    table = [
        [
            f"{row['prevalence']:g}",
            str(seed),
            f"1 of {1 / row['reach']:,.3g}" if row["reach"] else "never",
            f"{row['expected_energy_uj']:,.0f}",
            times(row["gain_end_to_end"]),
            times(row["bound"]),
            times(row["gain_idealised"]),
        ]
        for place in range(len(next(iter(outcomes.values())).best["prevalence"]))
        for seed, o in outcomes.items()
        for row in [o.best["prevalence"][place]]
    ]
    heads = ["prevalence", "seed", "windows that reach the last stage", "energy a window, uJ", "gain end to end"]
    return markdown_table([*heads, "bound of any gate", "idealised"], table)


def _paper_style(outcomes: Mapping[int, Outcome]) -> str:
    table = [
        [
            str(seed),
            f"{100 * o.best['early_stop_rate_stream']:.2f}",
            f"{100 * o.best['early_stop_rate_stream_at_least']:.2f}",
            f"{100 * o.best['activation_sparsity']:.1f}",
            times(o.best["gain_paper_style"]),
            times(o.best["gain_paper_style_at_least"]),
            "158x to 30,000x",
        ]
        for seed, o in outcomes.items()
    ]
    heads = ["seed", "ES of the stream, %", "at least, %", "AS, %", "idealised, negatives only", "at least"]
    return markdown_table([*heads, "published (2405.01739)"], table)


def _plans(outcomes: Mapping[int, Outcome]) -> str:
    table = [
        [
            str(seed),
            str(GatePlan.from_dict(o.best["plan"])),
            " > ".join(f"{core} {how}" for core, how in zip(o.best["plan"]["cores"], o.arithmetic, strict=True)),
            str(o.summary["search"]["evaluated"]),
            f"{o.summary['streaming']['ungated_us']:.1f}",
            f"{o.summary['streaming']['gated_us']:.1f}",
            f"{o.summary['seconds']:.0f}",
        ]
        for seed, o in outcomes.items()
    ]
    heads = ["seed", "picked plan", "stages", "plans trained", "ungated us", "gated us", "run, s"]
    return markdown_table(heads, table)


def _mix(o: Outcome) -> str:
    shares = {kind: share for kind, share in o.record["data"]["stream"].items() if kind != "positive"}
    return ", ".join(f"{kind} {share / sum(shares.values()):.0%}" for kind, share in shares.items())


def _synthetic(synthetic: bool) -> str:
    return " Accuracy on synthetic speech says nothing about real speech." if synthetic else ""


def times(value: float | None) -> str:
    """Print a gain.

    >>> times(1.234), times(1234.5), times(None)
    ('1.23x', '1,234x', 'infinite')
    """
    return "infinite" if value is None else f"{value:,.0f}x" if value >= 100 else f"{value:.3g}x"


def _with(settings: Sequence[str]) -> str:
    return f" with `{' '.join(settings)}`" if settings else ""
