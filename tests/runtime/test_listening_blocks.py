"""How a stream is cut into blocks changes no detection, with kernels, for any history of gates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.frontends import MFCC, LogMel, restore
from gatesearch.frontends.stream import FrontendStream
from gatesearch.kernels import Mel, native
from gatesearch.kernels.fixed_mel import FixedMelStream
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Array
from gatesearch.runtime.chain import STREAM_GATES
from gatesearch.runtime.detector import DetectorSettings
from gatesearch.runtime.listener import DETECTOR, Listener, StreamFormat, describe_detector
from gatesearch.runtime.open_listener import open_listener
from gatesearch.runtime.stream_frontend import MelFrontend
from gatesearch.runtime.tensor_spec import TensorSpec
from tests.export.hop_model import export_by_hops
from tests.export.small_model import CLASSES
from tests.runtime.test_decisions import sound

RATE = 16000
HOST = {"mcu": "litert", "npu": "litert", "app": "litert"}
SIGNAL = {"statistic": "level", "threshold": 12 * 65536.0, "smoothing": 2, "hold": 2}


def detector(hop: int) -> DetectorSettings:
    return DetectorSettings(
        classes=CLASSES,
        positives=("yes", "no"),
        hop_s=hop / RATE,
        smoothing=3,
        threshold=0.2,
        hits=2,
        refractory_s=0.2,
        first_s=1.0,
    )


@pytest.fixture(scope="module", params=[(640, 1), (320, 2)], ids=["one phase", "two phases"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, int]:
    """Return a bundle, loaded once for all tests, and the samples of its hop."""
    hop, phases = request.param
    path = tmp_path_factory.mktemp("blocks") / "bundle"
    export_by_hops(path, hop=hop // 320, phases=phases, theta=-0.5)
    return Bundle(path, HOST), hop


@pytest.fixture(scope="module")
def mel() -> Mel:
    torch.manual_seed(0)
    return Mel(LogMel(mel_bins=10).fit((torch.randn(16, RATE) * torch.rand(16, 1) * 9000).to(torch.int16)))


def set_gates(bundle: Bundle, hop: int, gates: list[dict], on_signal: bool) -> Bundle:
    stream = StreamFormat(rate=RATE, window=RATE, hop=hop)
    bundle.manifest |= {
        DETECTOR: describe_detector(detector(hop), stream),
        STREAM_GATES: {"signal": SIGNAL if on_signal else None, "gates": gates},
    }
    return bundle


def mel_frontend(bundle: Bundle, mel: Mel, hop: int) -> MelFrontend:
    return MelFrontend(mel, bundle.programs[0].inputs[0], hop, by_hops=True)


def listen(listener: Listener, samples: Array, cuts: list[int]) -> tuple[list, list[int], int]:
    detections = [each for block in np.split(samples, np.cumsum(cuts)) for each in listener.push(block)]
    return detections, listener.reached.tolist(), listener.hops


def logits_of(bundle: Bundle, k: int, quantile: float) -> float:
    """Return a threshold of gate ``k`` that some of its possible logits exceed."""
    entry = bundle.manifest["stages"][k]["gate"]["logit"]
    spec = bundle.programs[k].outputs[1]
    exported = spec.value(round(-128 + 255 * quantile))
    return float(entry["center"] + (exported - 3) * entry["half_width"] / 3)


GATES = st.lists(st.tuples(st.floats(0.3, 0.7), st.integers(1, 4), st.integers(0, 4)), min_size=2, max_size=2)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 999),
    gates=GATES,
    on_signal=st.booleans(),
    cuts=st.lists(st.integers(0, 20000), max_size=12),
)
def test_blocks_of_any_size_give_the_detections_of_single_hops(loaded, mel, seed, gates, on_signal, cuts):
    bundle, hop = loaded
    entries = [
        {"threshold": logits_of(bundle, k, quantile), "smoothing": smoothing, "hold": hold}
        for k, (quantile, smoothing, hold) in enumerate(gates)
    ]
    samples = sound(3.0, seed)
    results = []
    for own_cuts in (cuts, [], [RATE, *[hop] * ((len(samples) - RATE) // hop)]):
        set_gates(bundle, hop, entries, on_signal)
        listener = Listener(bundle, mel_frontend(bundle, mel, hop))
        results.append(listen(listener, samples, [cut for cut in own_cuts if cut]))
        if native.load() is not None:  # kernels subtract the activations that the first gate reads
            assert not listener.unsupported
    assert results[0] == results[1] == results[2]
    assert results[0][2] == 1 + (len(samples) - RATE) // hop


@pytest.mark.parametrize("front", [LogMel, MFCC])
def test_the_kernel_front_end_gives_the_features_of_whole_windows(front):
    torch.manual_seed(1)
    fitted = front().fit((torch.randn(16, RATE) * 900).to(torch.int16))
    kernel, samples = Mel(fitted), sound(3.0, 4)
    shape = (1, *kernel.shape, 1)
    reader = MelFrontend(kernel, TensorSpec("x", shape, np.dtype(np.int8), 1 / 16, 0), 640, by_hops=True)
    for hop, count in ((0, 3), (3, 1), (9, 4), (40, 2)):  # hops 4 to 8 and 13 to 39 are closed
        windows = reader.read(samples[hop * 640 : (hop + count - 1) * 640 + RATE], hop, count)
        for k in range(count):
            whole = kernel(samples[(hop + k) * 640 :][:RATE])
            assert np.array_equal(windows.window(k)[:, 0, :, 0], whole)


@pytest.mark.parametrize("front", [LogMel, MFCC])
def test_the_fixed_point_front_end_gives_its_reference_at_any_hop(front):
    torch.manual_seed(1)
    tables = front().fit((torch.randn(16, RATE) * 900).to(torch.int16)).fixed()
    kernel, samples = FixedMelStream(tables), sound(3.0, 4)
    reader = MelFrontend(
        kernel, TensorSpec("x", (1, *kernel.shape, 1), np.dtype(np.int8), 1 / 16, 0), 640, by_hops=True
    )
    for hop, count in ((0, 3), (3, 1), (9, 4), (40, 2)):
        windows = reader.read(samples[hop * 640 : (hop + count - 1) * 640 + RATE], hop, count)
        for k in range(count):
            first = (hop + k) * 640
            frames = np.stack([samples[first + 320 * i :][:480] for i in range(49)])
            assert np.array_equal(windows.window(k)[:, 0, :, 0], tables.features_of(frames))


def test_a_bundle_opens_with_the_arithmetic_of_its_front_end(loaded, mel, monkeypatch):
    bundle, hop = loaded
    manifest = set_gates(bundle, hop, [{"threshold": -np.inf, "smoothing": 1, "hold": 0}] * 2, False).manifest
    manifest |= {"frontend": mel.frontend.describe()}
    for module in ("bundle", "open_listener"):
        monkeypatch.setattr(f"gatesearch.runtime.{module}.load_manifest", lambda folder: manifest)
    listeners = [open_listener(bundle.folder, arithmetic=arithmetic) for arithmetic in ("float32", "fixed_point")]
    kernels = [type(listener._decisions.frontend._mel) for listener in listeners]
    assert kernels == [Mel, FixedMelStream]
    in_float, in_fixed_point = (listen(listener, sound(3.0, 2), [20000]) for listener in listeners)
    assert in_float[1:] == in_fixed_point[1:]  # every gate is open: the same hops
    old = {key: value for key, value in manifest["frontend"].items() if key != "arithmetic"}
    for entry, kernel in ((old, Mel), (old | {"arithmetic": "fixed_point"}, FixedMelStream)):
        monkeypatch.setitem(manifest, "frontend", entry)
        listener = open_listener(bundle.folder)
        assert type(listener._decisions.frontend._mel) is kernel
        # The engines of the devices read the same features from the front end in PyTorch.
        assert (
            listen(listener, sound(1.5, 2), [20000])[0]
            == listen(
                Listener(listener._decisions.chain._bundle, FrontendStream(restore(entry))), sound(1.5, 2), [20000]
            )[0]
        )
    monkeypatch.setitem(manifest, "frontend", {"name": "identity", "args": {}, "arithmetic": "fixed_point"})
    with pytest.raises(UserError, match="frontend: identity has no form in fixed point"):
        open_listener(bundle.folder)
    monkeypatch.setitem(manifest, "frontend", old | {"arithmetic": "fixed-point"})
    with pytest.raises(UserError, match=r"arithmetic 'fixed-point'.*fixed_point"):
        open_listener(bundle.folder)


def test_kernels_and_interpreters_hear_the_same(loaded, mel):
    bundle, hop = loaded
    entries = [{"threshold": -np.inf, "smoothing": 1, "hold": 0}] * 2
    samples, results = sound(4.0, 7), []
    for by_kernels in (True, False):
        set_gates(bundle, hop, entries, False)
        listener = Listener(bundle, mel_frontend(bundle, mel, hop))
        if not by_kernels:
            for phase in listener._decisions.chain._stages:
                for stage in phase:
                    stage._kernel = None
        results.append(listen(listener, samples, [30000]))
    assert results[0] == results[1]


def test_a_bundle_opens_with_the_engines_of_this_host_or_of_its_devices(loaded, mel, monkeypatch):
    bundle, hop = loaded
    manifest = set_gates(bundle, hop, [{"threshold": -np.inf, "smoothing": 1, "hold": 0}] * 2, True).manifest
    manifest = manifest | {"frontend": mel.frontend.describe()}
    for module in ("bundle", "open_listener"):
        monkeypatch.setattr(f"gatesearch.runtime.{module}.load_manifest", lambda folder: manifest)
    fast, exact = open_listener(bundle.folder), open_listener(bundle.folder, devices=True)
    assert [program.engine for program in fast._decisions.chain._bundle.programs] == ["litert"] * 3
    engines = [program.engine for program in exact._decisions.chain._bundle.programs]
    assert engines == [stage["engine"] for stage in manifest["stages"]]
    assert isinstance(fast.frontend, MelFrontend)
    assert not isinstance(exact.frontend, FrontendStream | MelFrontend)


def test_a_stage_without_kernels_is_named_once_and_listens(loaded, mel, monkeypatch, capsys):
    from gatesearch.runtime import stage_program

    monkeypatch.setattr(
        stage_program,
        "_OPERATORS",
        {k: v for k, v in stage_program._OPERATORS.items() if k != "DEPTHWISE_CONV_2D"},
    )
    bundle, hop = loaded
    set_gates(bundle, hop, [{"threshold": -np.inf, "smoothing": 1, "hold": 0}] * 2, False)
    listener = Listener(bundle, mel_frontend(bundle, mel, hop))
    assert listener.unsupported[1] == "no kernel for DEPTHWISE_CONV_2D"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(set(lines)) == len(listener.unsupported)
    assert "stage 1 runs in LiteRT, hop by hop: no kernel for DEPTHWISE_CONV_2D" in "".join(lines)
    assert listen(listener, sound(2.0, 3), [])[2] == 1 + (2 * RATE - RATE) // hop
