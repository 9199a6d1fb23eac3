"""Opens a bundle as a listener, with the front end and the engines that are fastest on this host."""

from __future__ import annotations

from pathlib import Path

from gatesearch.frontends import LogMel, restore
from gatesearch.frontends.base import Frontend
from gatesearch.frontends.mfcc import MFCC
from gatesearch.frontends.stream import FrontendStream
from gatesearch.kernels import Mel
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.listener import Listener, has_chain, read_detector
from gatesearch.runtime.manifest import load_manifest
from gatesearch.runtime.stream_frontend import BlockFrontend, MelFrontend, StreamFrontend

HOST_ENGINE = "litert"
MEL_FRONTENDS = (LogMel, MFCC)  # those that the kernel computes; a class derived from them may compute something else


def open_listener(folder: Path, devices: bool = False) -> Listener:
    """Return a listener on a bundle.

    Args:
        folder: the bundle's folder.
        devices: whether each stage runs in the engine that the manifest names, which stands in for its core, and the
            front end in PyTorch. Otherwise, this host's kernels and LiteRT run everything. Integers may then differ
            from a device's where the engines round differently, and a feature by one step, rarely.

    Raises:
        UserError: there is no bundle, or it has no detector.
    """
    engines = None if devices else {stage["core"]: HOST_ENGINE for stage in load_manifest(folder)["stages"]}
    bundle = Bundle(folder, engines)
    frontend = restore(bundle.manifest["frontend"])
    return Listener(bundle, FrontendStream(frontend) if devices else fast_frontend(frontend, bundle))


def fast_frontend(frontend: Frontend, bundle: Bundle) -> BlockFrontend | StreamFrontend:
    """Return a front end on the C kernel if that computes it; else the front end itself."""
    _, stream = read_detector(bundle.manifest, str(bundle.folder))
    spec = bundle.programs[0].inputs[0]
    if type(frontend) not in MEL_FRONTENDS or not has_chain(bundle):
        return FrontendStream(frontend)
    assert isinstance(frontend, LogMel)
    mel = Mel(frontend)
    if not MelFrontend.fits(mel, spec):
        return FrontendStream(frontend)
    return MelFrontend(mel, spec, stream.hop, by_hops=bundle.manifest.get("hops") is not None)
