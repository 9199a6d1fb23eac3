"""Writes README.md of a bundle, its model card: data, quality, devices, power, limits, how to run and how to check.

A model card states what a model is for and how it was evaluated (Mitchell et al., "Model Cards for Model Reporting",
2019). All figures come from the manifest and from summary.json.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gatesearch.report.card_figures import NOT_YET, describe_power, describe_quality

CARD = "README.md"
"""Name of the card in the folder of a bundle."""

WIDTH = 100
LICENCES: Mapping[str, str] = {
    "speech_commands": "Speech Commands (Warden 2018) has the licence CC BY 4.0.",
    "handwritten digits": "UCI's handwritten digits have the licence CC BY 4.0.",
    "CIFAR-10": "The authors of CIFAR-10 state no licence.",
}
"""What is known about the licence of public data, by a part of their source's description."""


def render_card(
    manifest: Mapping[str, Any], summary: Mapping[str, Any] | None, constants: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Return the text of a model card, in Markdown.

    Args:
        manifest: the manifest of the bundle.
        summary: the content of summary.json; None before the run has its figures.
        constants: the constants of the device, each with its ``provenance``.
    """
    name = manifest.get("recipe") or "bundle"
    sections = {
        "Data": _data(manifest, summary),
        "Quality": describe_quality(summary),
        "Device and power": describe_power(manifest, summary, constants),
        "Limits": _limits(manifest, summary),
        "How to run it": _run(manifest),
        "How to check it": _check(manifest),
    }
    blocks = [f"# {name}: model card", *_purpose(manifest)]
    for title, section in sections.items():
        blocks += [f"## {title}", *section]
    return "\n\n".join(map(_wrap, blocks)) + "\n"


def _purpose(manifest: Mapping[str, Any]) -> Iterator[str]:
    detector = manifest.get("detector")
    classes = ", ".join(manifest["classes"])
    if detector is not None:
        stream = detector["stream"]
        yield (
            f"This bundle listens to a stream of {stream['rate']} samples a second, and detects: "
            f"{', '.join(detector['positives'])}. It decides every {1000 * stream['hop'] / stream['rate']:g} ms on a "
            f"window of {stream['window'] / stream['rate']:g} s. Its classes are: {classes}."
        )
    elif "logits" in manifest["stages"][-1]["outputs"]:
        yield f"This bundle names the class of a window. Its classes are: {classes}."
    else:
        yield "This bundle transforms a window; its output is no class."
    yield f"It is plan `{manifest['digest']}`, written by gatesearch. manifest.json describes its files:"
    rows = ["| stage | core | program | bytes | numbers | gate behind it |", "|---|---|---|---|---|---|"]
    for stage in manifest["stages"]:
        program, gate = stage["program"], stage["gate"]
        placed = "-" if gate is None else f"{gate['kind']} at {gate['site']}"
        rows.append(
            f"| {stage['index']} | {stage['core']} | {program['path']} | {program['bytes']:,} | "
            f"{stage['arithmetic']} | {placed} |"
        )
    yield "\n".join(rows)


def _data(manifest: Mapping[str, Any], summary: Mapping[str, Any] | None) -> Iterator[str]:
    if summary is None:
        yield NOT_YET
        return
    data = summary["data"]
    yield (
        f"Source: {data['source']}. {data['train']:,} windows trained the network, {data['validation']:,} set its "
        f"thresholds, and {data['test']:,} tested it."
    )
    licences = [text for key, text in LICENCES.items() if key.lower() in data["source"].lower()]
    if manifest.get("synthetic_data"):
        yield "The data are synthetic, or partly so. They say little about recordings of people and places."
    licence = " ".join(licences) or "The run records no licence of the data."
    yield f"{licence} Test vectors hold a part of the test data, so pass them on only under the licence of the data."


def _limits(manifest: Mapping[str, Any], summary: Mapping[str, Any] | None) -> Iterator[str]:
    items = []
    if manifest.get("synthetic_data"):
        items.append("The data are synthetic, or partly so: test the bundle on recordings before you rely on it.")
    if manifest.get("detector") is not None:
        items.append("It knows no other words, voices and noises than those of its data.")
    if (manifest.get("frontend") or {}).get("steps") is None:
        items.append("The manifest does not describe the front end; only its own package computes the features.")
    items += [f"Warning of the run: {line}" for line in (summary or {}).get("warnings", ())]
    yield "\n".join(f"- {item}" for item in items) or "The run printed no warning."


def _run(manifest: Mapping[str, Any]) -> Iterator[str]:
    if manifest.get("detector") is not None:
        yield "With gatesearch, from a WAV file:"
        yield "    gatesearch listen RUN recording.wav"
    else:
        yield "With gatesearch, from features [C, H, W] of a window:"
        yield "    from gatesearch.runtime.bundle import Bundle\n    answer = Bundle(folder)(features)"
    yield (
        "Without gatesearch: docs/bundle.md of gatesearch explains the manifest rule by rule, and has clients that "
        "need NumPy and LiteRT alone. For a microcontroller, `gatesearch export RUN target=firmware out=DIR` writes C "
        "sources."
    )


def _check(manifest: Mapping[str, Any]) -> Iterator[str]:
    vectors = manifest.get("vectors")
    yield "`gatesearch verify RUN` compares every file with the trained model, and checks each sha256 of manifest.json."
    if vectors is not None:
        shape = " x ".join(map(str, vectors["inputs"]["shape"]))
        yield (
            f"`vectors/` holds inputs ({vectors['inputs']['dtype']}, {shape}), the features of these, and the decision "
            f"on each of the {vectors['kind']}. A client in any language has to make the same decisions."
        )


def _wrap(block: str) -> str:
    """Wrap a paragraph or the items of a list; tables, titles and code stay as they are."""
    if block.startswith(("|", "#", "    ")):
        return block
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent="  " * line.startswith("- "), break_on_hyphens=False)
        for line in block.splitlines()
    )
