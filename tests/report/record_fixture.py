"""A synthetic record of a finished keyword run, with consistent figures."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

POSITIVES = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
STREAM = {"positive": 0.1, "_unknown_": 0.1, "_silence_": 0.8}
REACH = [
    {"positive": 1.0, "_unknown_": 1.0, "_silence_": 1.0},
    {"positive": 0.994, "_unknown_": 0.958, "_silence_": 0.061},
    {"positive": 0.986, "_unknown_": 0.412, "_silence_": 0.002},
]


def build_record(seed: int = 0) -> dict[str, Any]:
    """Return the record of a run that has ended; the seed draws its trials and learning curves."""
    rng = np.random.default_rng(seed)
    sites = _sites()
    stages = _stages()
    layers = _layers()
    by_term = {"sense": 18.0, "frontend": 41.3, "wake": 3.2, "idle": 9.6}
    by_term |= {term: sum(s["energy_uj"][term] for s in stages) for term in ("compute", "weights", "link")}
    total = sum(by_term.values())
    ungated = {
        "sense": 18.0,
        "frontend": 41.3,
        "compute": 431.0,
        "weights": 12.4,
        "link": 0.0,
        "wake": 0.0,
        "idle": 7.1,
    }
    ungated_total = sum(ungated.values())
    plan = {
        "digest": "3fb1c2a90d7e",
        "gates": [
            {"kind": "gc", "site": "stem", "params": {"mode": "channel", "keep": 0.5, "recall": 0.99}},
            {"kind": "gc", "site": "blocks.1", "params": {"mode": "channel", "keep": 0.25, "recall": 0.99}},
            *({key: row[key] for key in ("kind", "site", "params")} for row in layers if row["kind"]),
        ],
        "cores": ["dsp", "mcu", "npu"],
    }
    bound = ungated_total / 59.3
    return {
        "recipe": "kws",
        "title": "keyword spotting",
        "command": "gatesearch run recipe=kws.yaml search.trials=40 out=runs/kws-1",
        "seed": seed,
        "created": "2026-03-14T09:26:53+00:00",
        "revision": "gatesearch 0.1.0, commit 0a1b2c3",
        "machine": {
            "cpu": "Example CPU 3.1 GHz",
            "cores": 2,
            "python": "3.11.7",
            "versions": {
                "torch": "2.13.0",
                "optuna": "5.0.0",
                "litert-torch": "0.10.0",
                "ethos-u-vela": "5.2.0",
            },
        },
        "data": {
            "name": "speech",
            "source": "eSpeak NG 1.52, 12 classes, 400 clips a class, 24 voices",
            "synthetic": True,
            "classes": [*POSITIVES, "_silence_", "_unknown_"],
            "positive": [True] * 10 + [False] * 2,
            "train": 3840,
            "validation": 480,
            "test": 480,
            "stream": STREAM,
            "period_s": 1.0,
        },
        "sites": sites,
        "layer_sites": [
            {"name": f"blocks.{i}.pointwise", "op": "conv2d", "shape": [64, 25, 5], "macs": 512_000} for i in range(4)
        ],
        "layer_kinds": ["fbs", "pg"],
        "layer_figures": {"density": "Channels computed", "sparsity": "Closed outputs"},
        "plan": plan,
        "stages": stages,
        "frontend": {
            "name": "mfcc",
            "macs": 1_240_000,
            "latency_us": 3900.0,
            "energy_uj": 41.3,
            "core": "dsp",
        },
        "gates": [_gate(0, "stem", 0.214, 9.0, 1.5), _gate(1, "blocks.1", 0.371, 6.0, 3.4)],
        "layers": layers,
        "trials": _trials(rng, plan),
        "reference": {
            "accuracy": 0.9521,
            "accuracy_all_classes": 0.9479,
            "recall": 0.961,
            "precision": 0.957,
            "expected_latency_us": 48_200.0,
            "expected_energy_uj": ungated_total,
            "macs": 2_656_768,
            "params": 23_756,
            "core": "mcu",
        },
        "best": {
            "digest": plan["digest"],
            "plan": plan,
            "accuracy": 0.9479,
            "accuracy_all_classes": 0.9417,
            "precision": 0.9583,
            "recall": 0.9512,
            "early_stop_rate": 0.953,
            "gate_recall": 0.986,
            "activation_sparsity": 0.812,
            "expected_macs": 573_000,
            "macs_saving": 2_656_768 / 573_000,
            "layer_gates": [{"site": row["site"], "kind": row["kind"]} for row in layers if row["kind"]],
            "layer_macs": {
                key: sum(row[name] for row in layers) for key, name in (("dense", "macs"), ("left", "macs_left"))
            },
            "expected_latency_us": 8_430.0,
            "expected_energy_uj": total,
            "gain_end_to_end": ungated_total / total,
            "gain_paper_style": 113.4,
        },
        "energy": {
            "total_uj": total,
            "by_term": by_term,
            "by_core": {"dsp": 0.83 * total, "mcu": 0.12 * total, "npu": 0.05 * total},
            "ungated_total_uj": ungated_total,
            "ungated_by_term": ungated,
            "ungated_by_core": {"dsp": 64.0, "mcu": ungated_total - 68.0, "npu": 4.0},
            "gain_end_to_end": ungated_total / total,
            "gain_paper_style": 113.4,
            "bound": bound,
        },
        "curves": [
            _curve(rng, "baseline", 40, 2.4, 0.35),
            _curve(rng, "ungated retrained", 30, 0.7, 0.90),
            _curve(rng, "gated retrained", 30, 1.3, 0.84),
        ],
        "parity": {
            "gate_agreement": 0.9979,
            "prediction_agreement": 0.9875,
            "max_abs_error": 0.1832,
            "samples": 480,
            "per_stage": [
                {"stage": 0, "engine": "tflm", "gate_agreement": 0.9979},
                {"stage": 1, "engine": "litert", "gate_agreement": 1.0},
                {"stage": 2, "engine": "reference", "gate_agreement": None},
            ],
            "bars": {"gate": 0.995, "prediction": 0.99},
            "confusions": {"model yes, artifact no": 2, "model up, artifact off": 4},
        },
        "streaming": {
            "gated_us": 412.0,
            "ungated_us": 1630.0,
            "ratio": 1630.0 / 412.0,
            "windows": 2000,
            "provenance": "measured",
            "engine": "litert, 1 thread",
        },
        "sensitivity": _sensitivity(total, ungated_total, plan["digest"]),
        "tables": [{"core": "mcu", "told": "table cortex_m4, 302 readings, simulated: no cycle model"}],
        "constants": _constants(),
        "artifacts": _artifacts(plan["cores"]),
        "hypervolume": np.maximum.accumulate(
            0.6 + 0.3 * (1 - np.exp(-np.arange(40) / 9)) + rng.normal(0, 0.01, 40)
        ).tolist(),
    }


def empty_record() -> dict[str, Any]:
    """Return the record of a run that has just started: every key is there, but most values are empty."""
    full = build_record()
    lists = {key for key, value in full.items() if isinstance(value, list)}
    header = {key: full[key] for key in ("recipe", "title", "command", "seed", "created", "machine", "revision")}
    return {key: [] if key in lists else None for key in full} | header


def _sensitivity(total: float, ungated_total: float, digest: str) -> dict[str, Any]:
    """Return the sensitivity to twelve constants, of which the second changes the best plan.

    Its helpers take what a constant adds to the gated total (``part``) and to the ungated one (``ungated_part``) [uJ].
    """

    def answer(part: float, ungated_part: float, factor: float, picked: str = digest) -> dict[str, Any]:
        energy, ungated = total + (factor - 1) * part, ungated_total + (factor - 1) * ungated_part
        return {"energy_uj": energy, "ungated_uj": ungated, "gain": ungated / energy, "picked": picked}

    def row(
        name: str, part: float, ungated_part: float, value: float | None = None, other: bool = False
    ) -> dict[str, Any]:
        picks = {0.5: digest, 1.5: "0123456789ab" if other else digest}
        answers = [{"factor": factor} | answer(part, ungated_part, factor, pick) for factor, pick in picks.items()]
        gains = [one["gain"] for one in answers]
        entry = {"name": name, "constants": [name], "value": value, "unit": None if value is None else "mW"}
        return entry | {"swing": max(gains) / min(gains), "other_plan": other, "answers": answers}

    constants = [row(f"cores.c{i}.active_mw", 30.0 / (i + 1), 300.0 / (i + 3), 8.0, i == 1) for i in range(12)]
    groups = [row("all powers", 60.0, 350.0), row("all wake-ups", 3.2, 0.0)]
    gains = [one["gain"] for each in (*constants, *groups) for one in each["answers"]]
    return {
        "factors": [0.5, 1.5],
        "nominal": answer(0.0, 0.0, 1.0),
        "gain_low": min(gains),
        "gain_high": max(gains),
        "together": [answer(60.0, 20.0, 1.5), answer(20.0, 300.0, 1.5)],
        "constants": sorted(constants, key=lambda each: -each["swing"]),
        "groups": groups,
        "zero": ["cores.mcu.wake_us"],
    }


def _sites() -> list[dict[str, Any]]:
    shapes = {
        "input": [1, 49, 10],
        "stem": [64, 25, 5],
        **{f"blocks.{i}": [64, 25, 5] for i in range(4)},
        "pool": [64, 1, 1],
    }
    macs = np.cumsum([0, 320_000, 584_000, 584_000, 584_000, 584_000, 0])
    params = np.cumsum([0, 2_624, 4_992, 4_992, 4_992, 4_992, 0])
    return [
        {
            "name": name,
            "shape": shape,
            "macs_before": int(macs[place]),
            "macs_after": 2_656_768 - int(macs[place]),
            "params_before": int(params[place]),
            "params_after": 23_756 - int(params[place]),
        }
        for place, (name, shape) in enumerate(shapes.items())
    ]


def _stages() -> list[dict[str, Any]]:
    rows = [
        ("dsp", "input", "stem", 320_000, 2_624, 2_100.0, "measured", (9.4, 0.5, 1.1)),
        ("mcu", "blocks.0", "blocks.1", 1_168_000, 9_984, 21_300.0, "simulated", (27.8, 1.4, 0.6)),
        ("npu", "blocks.2", "pool", 1_168_768, 11_148, 640.0, "modelled", (3.1, 0.2, 0.0)),
    ]
    stages = []
    for index, (core, first, last, macs, params, latency, provenance, energy) in enumerate(rows):
        reach = REACH[index] | {"stream": sum(STREAM[kind] * REACH[index][kind] for kind in STREAM)}
        stages.append(
            {
                "index": index,
                "core": core,
                "first_site": first,
                "last_site": last,
                "macs": macs,
                "weight_bytes": params,
                "reach": reach,
                "latency_us": latency,
                "latency_provenance": provenance,
                "energy_uj": dict(zip(("compute", "weights", "link"), energy, strict=True))
                | {"wake": 1.1, "idle": 3.2},
            }
        )
    return stages


def _gate(index: int, site: str, theta: float, silence: float, unknown: float) -> dict[str, Any]:
    miss_rates = np.linspace(0, 1, 101) ** 3  # dense near full recall, where gates work
    curves = {
        "_unknown_": {"recall": (1 - miss_rates).tolist(), "stopped": (miss_rates ** (1 / unknown)).tolist()},
        "_silence_": {"recall": (1 - miss_rates).tolist(), "stopped": (miss_rates ** (1 / (2 * silence))).tolist()},
    }
    recall = REACH[index + 1]["positive"] / REACH[index]["positive"]
    stopped = {kind: float((1 - recall) ** (1 / p)) for kind, p in (("_unknown_", unknown), ("_silence_", 2 * silence))}
    return {
        "index": index,
        "site": site,
        "theta": theta,
        "kept_channels": 32 >> index,
        "recall_target": 0.99,
        "gate_recall": recall,
        "early_stop": stopped,
        "activation_sparsity": {
            "element": 0.78 + 0.05 * index,
            "channel": 0.5 + 0.25 * index,
            "ungated_element": 0.47,
        },
        "roc": curves,
    }


def _layers() -> list[dict[str, Any]]:
    """Return rows of layers: stage 1 has a layer with FBS and its reader, stage 2 two layers with precision gating."""
    fbs = {"site": "blocks.0.pointwise", "block": "stem", "stage": 1, "core": "mcu", "kind": "fbs"}
    reader = {"site": "blocks.1.pointwise", "block": "blocks.0", "stage": 1, "core": "mcu", "kind": None}
    channel, pixel = ["channel", 0.75], ["pixel", 0.31]
    rows = [
        (fbs, {"density": 0.75}, {"density": 0.75}, 1.0, [([8, 8], [channel])], 10_100, ["channel"], [], 0.77),
        (reader, {}, {}, 0.75, [([8, 8], [])], 0, ["channel"], [], 0.75),
    ]
    for i in (2, 3):
        pg = {"site": f"blocks.{i}.pointwise", "block": f"blocks.{i - 1}", "stage": 2, "core": "npu", "kind": "pg"}
        params = {"bits": 8, "high_bits": 4, "mask": "m1"}
        calls: list[Any] = [([4, 8], []), ([4, 8], [pixel])]
        rows.append((pg, params, {"sparsity": 0.69}, 1.0, calls, 0, [], ["pixel"], 2.0))
    entries = []
    for where, params, report, read, calls, own, skipped, rest, share in rows:
        records = []
        for bits, remaining in calls:
            part = float(np.prod([one for _, one in remaining]))
            records.append(
                {"bits": bits, "left": remaining, "share": part, "macs": 512_000 * read * part * bits[0] / 8}
            )
        macs_left = own + sum(call["macs"] for call in records)
        kernels = {"bits": "whole", "skipped": skipped, "not_skipped": rest, "share": share, "provenance": "assumed"}
        kernels["source"] = f"kernel source of {where['core']}"
        entries.append(
            where
            | {"op": "conv2d", "shape": [64, 25, 5], "params": params, "report": report, "read": read, "calls": records}
            | {"density": report.get("density", 1.0), "gate_macs": own, "gate_params": own, "macs": 512_000}
            | {"macs_left": macs_left, "share": macs_left / 512_000, "kernels": kernels}
        )
    return entries


def build_layer_gates_record() -> dict[str, Any]:
    """Return the record of a plan that has layer gates alone, so that no gate stops a sample."""
    record = build_record()
    only_stage = record["stages"][-1] | {"index": 0, "first_site": "input", "last_site": "output"}
    gates = [gate for gate in record["plan"]["gates"] if gate["kind"] != "gc"]
    plan = record["plan"] | {"gates": gates, "cores": ["npu"]}
    layers = [row | {"block": "input", "stage": 0, "core": "npu"} for row in record["layers"]]
    parts = {"plan": plan, "sites": [], "stages": [only_stage], "gates": [], "layers": layers}
    return record | parts | {"best": record["best"] | {"plan": plan}}


def _trials(rng: np.random.Generator, plan: dict[str, Any]) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = []
    for number in range(120):
        energy = float(np.exp(rng.uniform(np.log(75), np.log(700))))
        accuracy = float(0.955 - 0.09 * np.exp(-(energy - 60) / 60) - rng.exponential(0.012))
        state = rng.choice(["complete", "priced_out", "duplicate", "failed"], p=[0.34, 0.5, 0.14, 0.02])
        gates = [{"kind": "gc", "site": f"blocks.{rng.integers(4)}", "params": {"keep": 0.5, "recall": 0.98}}]
        trials.append(
            {
                "number": number,
                "digest": hashlib.sha256(str(number).encode()).hexdigest()[:12],
                "state": str(state),
                "accuracy": accuracy if state == "complete" else None,
                "expected_latency_us": 90 * energy,
                "expected_energy_uj": energy,
                "on_front": False,
                "feasible": state == "complete" and accuracy > 0.9,
                "plan": {"gates": gates, "cores": ["dsp", "mcu"]},
            }
        )
    trials[60] |= {
        "digest": plan["digest"],
        "state": "complete",
        "accuracy": 0.938,
        "expected_energy_uj": 112.0,
    }
    trials[60] |= {"feasible": True, "plan": plan}
    trained = [trial for trial in trials if trial["accuracy"] is not None]
    for trial in trained:
        trial["on_front"] = not any(
            other["accuracy"] > trial["accuracy"] and other["expected_energy_uj"] < trial["expected_energy_uj"]
            for other in trained
        )
    return trials


def _curve(rng: np.random.Generator, name: str, epochs: int, loss: float, accuracy: float) -> dict[str, Any]:
    done = np.arange(epochs) / epochs
    noise = rng.normal(0, 0.004, epochs)
    return {
        "name": name,
        "epochs": list(range(1, epochs + 1)),
        "train_loss": (0.5 + loss * np.exp(-6 * done) + 4 * noise).tolist(),
        "validation_accuracy": (0.95 - (0.95 - accuracy) * np.exp(-8 * done) + noise).tolist(),
    }


def _constants() -> list[dict[str, Any]]:
    rows = [
        (
            "sense.uj_per_window",
            18.0,
            "µJ",
            "assumed",
            "digital microphone at 0.65 mA, 1.8 V class part, duty 1.5 %",
        ),
        ("cores.dsp.active_mw", 1.9, "mW", "assumed", "typical always-on DSP island, ADR table 4"),
        ("cores.dsp.idle_mw", 0.004, "mW", "assumed", "retention only"),
        ("cores.mcu.active_mw", 8.0, "mW", "assumed", "Cortex-M4 at 80 MHz, 100 µW/MHz"),
        (
            "cores.mcu.instructions_per_mac",
            2.31,
            "instructions",
            "simulated",
            "counted in QEMU on CMSIS-NN int8 kernels",
        ),
        ("cores.mcu.wake_us", 12.0, "µs", "assumed", "https://example.com/datasheet.pdf, section 5.3"),
        ("cores.npu.clock_mhz", 200.0, "MHz", "modelled", "Vela ethos-u55-128 default system configuration"),
        (
            "links.mcu_npu.nj_per_byte",
            0.12,
            "nJ/B",
            "modelled",
            "on-chip SRAM copy, 65 nm figure scaled to 40 nm",
        ),
        (
            "host.slowdown",
            37.4,
            "",
            "measured",
            "ratio of the same kernel on both cores, minimum of 30 rounds",
        ),
    ]
    return [dict(zip(("path", "value", "unit", "provenance", "source"), row, strict=True)) for row in rows]


def _artifacts(cores: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "core": core,
            "stage": stage,
            "format": kind,
            "path": f"best/bundle/{core}/stage{stage}.{kind}",
            "bytes": 9_344 + 5_120 * stage,
            "sha256": hashlib.sha256(f"{core}{stage}{kind}".encode()).hexdigest(),
        }
        for stage, core in enumerate(cores)
        for kind in ("tflite", "onnx")
    ]
