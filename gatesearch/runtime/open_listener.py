"""Opens a bundle as a listener, with the front end and the engines that are fastest on this host."""

from __future__ import annotations

from pathlib import Path

from gatesearch.errors import UserError
from gatesearch.frontends import LogMel, restore
from gatesearch.frontends.base import Frontend
from gatesearch.frontends.mfcc import MFCC
from gatesearch.frontends.stream import FrontendStream
from gatesearch.kernels import Mel
from gatesearch.kernels.fixed_mel import FixedMelStream
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.listener import Listener, has_chain, read_detector
from gatesearch.runtime.manifest import load_manifest
from gatesearch.runtime.stream_frontend import BlockFrontend, FrameKernel, MelFrontend, StreamFrontend

HOST_ENGINE = "litert"
MEL_FRONTENDS = (LogMel, MFCC)  # those that the kernel computes; a class derived from them may compute something else


def open_listener(folder: Path, devices: bool = False, *, fixed_point: bool = False) -> Listener:
    """Return a listener on a bundle.

    Args:
        folder: the bundle's folder.
        devices: whether each stage runs in the engine that the manifest names, which stands in for its core, and the
            front end in PyTorch. Otherwise, this host's kernels and LiteRT run everything. Integers may then differ
            from the device's integers, if the engines round differently. Rarely, a feature differs by one step.
        fixed_point: whether the front end computes in fixed point, as on a microcontroller.

    Raises:
        UserError: there is no bundle, or it has no detector; or no kernel computes the front end in fixed point.
    """
    engines = None if devices else {stage["core"]: HOST_ENGINE for stage in load_manifest(folder)["stages"]}
    return open_bundle(Bundle(folder, engines), devices, fixed_point=fixed_point)


def open_bundle(bundle: Bundle, devices: bool = False, *, fixed_point: bool = False) -> Listener:
    """Return a listener on a loaded bundle, whose engines run the stages; see :func:`open_listener`."""
    frontend = restore(bundle.manifest["frontend"])
    if fixed_point:
        return Listener(bundle, fixed_frontend(frontend, bundle))
    return Listener(bundle, FrontendStream(frontend) if devices else fast_frontend(frontend, bundle))


def fast_frontend(frontend: Frontend, bundle: Bundle) -> BlockFrontend | StreamFrontend:
    """Return a front end on the C kernel if that computes it; else the front end itself."""
    if type(frontend) not in MEL_FRONTENDS or not has_chain(bundle):
        return FrontendStream(frontend)
    assert isinstance(frontend, LogMel)
    return _by_kernel(Mel(frontend), bundle) or FrontendStream(frontend)


def fixed_frontend(frontend: Frontend, bundle: Bundle) -> BlockFrontend:
    """Return a front end on the C kernel in fixed point, which a microcontroller runs.

    Raises:
        UserError: no kernel computes this front end in fixed point, or the network reads other features.
    """
    tables = frontend.fixed() if isinstance(frontend, LogMel) and has_chain(bundle) else None
    kernel = None if tables is None else _by_kernel(FixedMelStream(tables), bundle)
    if kernel is None:
        raise UserError(f"{bundle.folder}: no kernel computes the front end {frontend.name} in fixed point")
    return kernel


def _by_kernel(kernel: FrameKernel, bundle: Bundle) -> MelFrontend | None:
    """Return the front end of a bundle's stream on a kernel; None if the network does not read the kernel's frames."""
    _, stream = read_detector(bundle.manifest, str(bundle.folder))
    spec = bundle.programs[0].inputs[0]
    if not MelFrontend.fits(kernel, spec):
        return None
    return MelFrontend(kernel, spec, stream.hop, by_hops=bundle.manifest.get("hops") is not None)
