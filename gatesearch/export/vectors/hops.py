"""Test vectors of a stretch of stream: at each hop, the scores of gates, what caught up, outputs and detection.

A hop is the time from one decision to the next. The trace runs every stage in an interpreter, hop by hop. It is a
second implementation of what :class:`gatesearch.runtime.listener.Listener` does, and the two have to agree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gatesearch.errors import UserError
from gatesearch.export.vectors.engines import vector_engines
from gatesearch.export.vectors.margins import is_clear
from gatesearch.export.vectors.source import Array, Vectors, plain
from gatesearch.gates.level import SignalFormat
from gatesearch.gates.level.hops import signal_statistics
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import requantise
from gatesearch.runtime.chain import read_chain
from gatesearch.runtime.detector import Detector
from gatesearch.runtime.hop_chain import HopChain
from gatesearch.runtime.listener import Listener, StreamFormat, read_detector
from gatesearch.runtime.manifest import load_manifest
from gatesearch.runtime.open_listener import open_bundle
from gatesearch.runtime.posteriors import read_posteriors
from gatesearch.runtime.stage_chain import read_scores
from gatesearch.runtime.stream_gate import StreamGate
from gatesearch.runtime.stream_windows import Windows

SEARCH_S = 600.0  # seconds of sound that are searched for a detection
STRETCH_S = 1.5  # seconds of hops behind the first window
DETECTION_SHARE = 0.6  # share of these seconds before the detection
MAX_INPUT_BYTES = 96 * 1024
SHIFTS_SAMPLES = tuple(range(0, 16 * 7, 7))  # beginnings that are tried until no feature lies at a border


def choose_stretch(bundle: Bundle, sound: Array) -> Vectors:
    """Return the vectors of a stretch of sound, with a detection if there is one; see :func:`open_vectors`.

    Raises:
        UserError: the sound is shorter than a window, or the runtime and the trace of it differ.
    """
    listener = open_bundle(bundle)
    stream = listener.stream
    sound = sound[: round(SEARCH_S * stream.rate)]
    if len(sound) < stream.window:
        raise UserError(f"vectors: the sound has {len(sound)} samples; wanted: a window of {stream.window} or more")
    detection = next(iter(listener.push(sound)), None)
    hops = _count_hops(stream, len(sound))
    length = stream.window + (hops - 1) * stream.hop
    end = 0 if detection is None else round(detection.time_s * stream.rate)
    first = min(max(0, end - stream.window - round(DETECTION_SHARE * hops) * stream.hop), len(sound) - length)
    traces = []
    for shift in SHIFTS_SAMPLES:
        stretch = sound[first + shift : first + shift + length]
        if len(stretch) == length:
            traces.append(trace_hops(bundle, stretch))
            if _is_clear(bundle, stream, traces[-1]) and (detection is None or _detects(traces[-1])):
                return traces[-1]
    return next((each for each in traces if _detects(each)), traces[0])


def trace_hops(bundle: Bundle, sound: Array) -> Vectors:
    """Return the vectors of a stream that consists of some sound, int16 [n].

    Raises:
        UserError: the runtime and the trace differ.
    """
    listener = open_bundle(bundle)
    stream = listener.stream
    count = 1 + (len(sound) - stream.window) // stream.hop
    windows = listener.frontend.read(sound[: stream.window + (count - 1) * stream.hop], 0, count)
    decisions = decide_hops(bundle, sound, windows, count)
    _compare(open_bundle(bundle), sound, decisions)
    return Vectors(
        kind="hops",
        engines=tuple(program.engine for program in bundle.programs),
        inputs=sound,
        features=windows.rows,
        rows=(windows.length, windows.step),
        decisions=decisions,
    )


def open_vectors(folder: Path) -> Bundle:
    """Return a bundle with the engines of test vectors."""
    return Bundle(folder, vector_engines(load_manifest(folder), host=True))


def decide_hops(bundle: Bundle, sound: Array, windows: Windows, count: int) -> list[dict[str, Any]]:
    """Return the decision of each hop of a stream."""
    where = str(bundle.folder)
    (settings, stream), chain_settings = read_detector(bundle.manifest, where), read_chain(bundle.manifest, where)
    signal = chain_settings.signal
    statistics, signal_gate = np.zeros(count, np.int64), None
    if signal is not None:
        form = SignalFormat.on_stream(signal.statistic, stream.rate, stream.window, stream.hop)
        statistics = signal_statistics(sound, form.window, form.hop, form.frame)[signal.statistic]
        signal_gate = StreamGate(signal.settings)
    chain, gates = HopChain(bundle), [StreamGate(each) for each in chain_settings.gates]
    detector, decisions = Detector(settings), []
    axis = _time_axis(bundle)
    for hop in range(count):
        is_open = signal_gate is None or signal_gate.push(float(statistics[hop]))
        chain.take(_as_input(windows.window(hop), axis))
        entry = _decide(bundle, chain, gates, is_open)
        posteriors = entry.pop("posteriors")
        detection = detector.push(posteriors)
        if signal_gate is not None:
            entry = {"signal": {"statistic": int(statistics[hop]), "open": is_open}, **entry}
        if detection is not None:
            entry["detection"] = {
                "class": detection.label,
                "time_s": detection.time_s,
                "confidence": detection.confidence,
            }
        decisions.append(entry)
    return decisions


def _decide(bundle: Bundle, chain: HopChain, gates: list[StreamGate], is_open: bool) -> dict[str, Any]:
    """Run the stages at one hop; return the logits of gates, the stages that caught up, the outputs and posteriors."""
    entry: dict[str, Any] = {"gates": [], "caught_up": [], "outputs": None, "posteriors": None}
    closed = 0
    before = chain.catch_ups
    while is_open:
        k = closed
        outputs, closed = chain.run(k), k + 1
        if k == len(gates):
            _answer(entry, outputs[0], bundle.programs[k].outputs[0])
            break
        score = read_scores(bundle, k, outputs[1].reshape(1, -1))[0]
        is_open = gates[k].push(float(score))
        entry["gates"].append({"logit": outputs[1].ravel()[0].item(), "open": is_open})
        light = bundle.exits[k]
        if not is_open and light is not None:
            values = chain.window(k + 1)
            target = bundle.programs[k + 1].inputs[0]
            _answer(entry, light(requantise(values, target, light.inputs[0]))[0], light.outputs[0])
    entry["caught_up"] = [k for k, (now, then) in enumerate(zip(chain.catch_ups, before, strict=True)) if now > then]
    chain.close(closed)
    for gate in gates[closed:]:
        gate.reset()
    return entry


def _answer(entry: dict[str, Any], output: Array, spec: Any) -> None:
    entry["outputs"], entry["posteriors"] = plain(output), read_posteriors(output[None], spec)[0]


def _compare(listener: Listener, sound: Array, decisions: list[dict[str, Any]]) -> None:
    """Check the trace against the runtime.

    Raises:
        UserError: the detections differ.
    """
    detections = [
        {"class": each.label, "time_s": each.time_s, "confidence": each.confidence} for each in listener.push(sound)
    ]
    traced = [each["detection"] for each in decisions if "detection" in each]
    if detections != traced:
        raise UserError(f"vectors: the runtime detects {detections}, the trace of the same sound {traced}")


def _time_axis(bundle: Bundle) -> int | None:
    entry = bundle.manifest["stages"][0].get("hops")
    return None if bundle.manifest.get("hops") is None or entry is None else int(entry["axis"])


def _as_input(window: Array, axis: int | None) -> Array:
    """Return a window, time first, as the first stage reads it."""
    return np.ascontiguousarray(window[0] if axis is None else np.moveaxis(window, 0, axis))


def _count_hops(stream: StreamFormat, samples: int) -> int:
    """Return the number of hops of a stretch: some seconds, but no more samples than fit into a small file."""
    most = min(samples - max(SHIFTS_SAMPLES), MAX_INPUT_BYTES // 2)
    count = max(8, round(STRETCH_S * stream.rate / stream.hop))
    return 1 + max(0, min(count, (most - stream.window) // stream.hop))


def _is_clear(bundle: Bundle, stream: StreamFormat, vectors: Vectors) -> bool:
    """Say whether any precision gives the features of each hop."""
    axis = _time_axis(bundle)
    assert vectors.rows is not None
    windows = Windows(vectors.features, *vectors.rows)
    samples = [vectors.inputs[hop * stream.hop :][: stream.window] for hop in range(len(vectors.decisions))]
    return all(
        is_clear(
            bundle.manifest.get("frontend"), sample, bundle.programs[0].inputs[0], _as_input(windows.window(hop), axis)
        )
        for hop, sample in enumerate(samples)
    )


def _detects(vectors: Vectors) -> bool:
    return any("detection" in each for each in vectors.decisions)
