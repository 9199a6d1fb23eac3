"""Opens a bundle as a listener, with the front end and the engines that are fastest on this host."""

from __future__ import annotations

from pathlib import Path

from gatesearch.compile.tflite import channel_last_axis
from gatesearch.errors import UserError
from gatesearch.frontends import FIXED_POINT, MFCC, Frontend, LogMel, restore
from gatesearch.frontends.stream import FrontendStream
from gatesearch.kernels import Mel
from gatesearch.kernels.fixed_mel import FixedMelStream
from gatesearch.kernels.library import Library
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.listener import Listener, has_chain, read_detector
from gatesearch.runtime.manifest import load_manifest
from gatesearch.runtime.recursive_frontend import RecursiveFrontend
from gatesearch.runtime.stream_frontend import BlockFrontend, FrameKernel, MelFrontend, StreamFrontend

HOST_ENGINE = "litert"


def open_listener(folder: Path, devices: bool = False, *, arithmetic: str | None = None) -> Listener:
    """Return a listener on a bundle.

    Args:
        folder: the bundle's folder.
        devices: whether each stage runs in the engine that the manifest names, which stands in for its core, and the
            front end in PyTorch. Otherwise, this host's kernels and LiteRT run everything. Integers may then differ
            from the device's integers, if the engines round differently. Rarely, a feature in float differs by a
            step.
        arithmetic: how the front end computes, one of ``gatesearch.frontends.ARITHMETICS``; None for what the manifest
            states. Features, and so decisions, differ slightly between the two.

    Raises:
        UserError: there is no bundle, or it has no detector; or the front end has no form in fixed point.
    """
    engines = None if devices else {stage["core"]: HOST_ENGINE for stage in load_manifest(folder)["stages"]}
    return open_bundle(Bundle(folder, engines), devices, arithmetic=arithmetic)


def open_bundle(bundle: Bundle, devices: bool = False, *, arithmetic: str | None = None) -> Listener:
    """Return a listener on a loaded bundle, whose engines run the stages; see :func:`open_listener`."""
    entry = bundle.manifest["frontend"]
    frontend = restore(entry if arithmetic is None else entry | {"arithmetic": arithmetic})
    own = FrontendStream(frontend) if devices and not frontend.recursive else fast_frontend(frontend, bundle)
    return Listener(bundle, own)


def fast_frontend(frontend: Frontend, bundle: Bundle) -> BlockFrontend | StreamFrontend:
    """Return a front end on the C kernel of its arithmetic if that computes it; else the front end itself."""
    if frontend.recursive:
        return _in_order(frontend, bundle)
    if not has_chain(bundle) or (kernel := open_kernel(frontend)) is None:
        return FrontendStream(frontend)
    return _by_kernel(kernel, bundle) or FrontendStream(frontend)


def open_kernel(frontend: Frontend, library: Library | None = None) -> Mel | FixedMelStream | None:
    """Return the C kernel that computes a front end in its arithmetic; None if there is none.

    Args:
        frontend: the front end.
        library: the compiled kernels; None for the best ones of this CPU.
    """
    if frontend.arithmetic == FIXED_POINT and isinstance(frontend, LogMel):
        tables = frontend.fixed()
        return None if tables is None else FixedMelStream(tables, library)
    # A class derived from these two may compute something else in float.
    if type(frontend) not in (LogMel, MFCC):
        return None
    assert isinstance(frontend, LogMel)
    return Mel(frontend, library)


def _by_kernel(kernel: FrameKernel, bundle: Bundle) -> MelFrontend | None:
    """Return the front end of a bundle's stream on a kernel; None if the network does not read the kernel's frames."""
    _, stream = read_detector(bundle.manifest, str(bundle.folder))
    spec = bundle.programs[0].inputs[0]
    if not MelFrontend.fits(kernel, spec):
        return None
    return MelFrontend(kernel, spec, stream.hop, by_hops=bundle.manifest.get("hops") is not None)


def _in_order(frontend: Frontend, bundle: Bundle) -> RecursiveFrontend:
    """Return a recursive front end on a bundle's stream."""
    _, stream = read_detector(bundle.manifest, str(bundle.folder))
    frames = frontend.hop_frames(stream.hop)
    if frames is None:
        raise UserError(f"frontend: {frontend.name} is recursive and has no hop_frames(); a stream needs both")
    return RecursiveFrontend(
        FrontendStream(frontend),
        bundle.programs[0].inputs[0],
        stream.hop,
        channel_last_axis(frames.axis, 1 + len(frontend.output_shape)),
        (frames.count, frames.hop),
        by_hops=bundle.manifest.get("hops") is not None,
    )
