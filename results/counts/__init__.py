"""`gatesearch bench counts`: checks gatesearch's counts of multiply-accumulates and its estimates of memory.

The multiply-accumulates of a network are compared with torch.utils.flop_counter in training mode, or with a count by
hand. The estimate of flash is compared with the size of the .tflite file. The estimate of SRAM is compared with the
arena, the working memory of TensorFlow Lite Micro. The benchmark needs the packages torchvision and timm.
"""

from __future__ import annotations

from importlib import import_module

from gatesearch._lib import console
from gatesearch.errors import UserError
from results.arguments import read_keys
from results.benchmark import public_command, resume
from results.counts.page import Counts


def main(arguments: list[str]) -> None:
    """Count the operations of networks, measure programs that are not measured yet, and write results/counts.

    Args:
        arguments: ``networks=NAME,NAME``; all networks by default.

    Raises:
        UserError: an argument is wrong, or a package is missing.
    """
    values = read_keys("bench counts", arguments, ("networks",))
    try:
        for package in ("timm", "torchvision"):
            import_module(package)
        from results.counts import measure, networks
    except ImportError as error:
        raise UserError(f"bench counts: {error}; pip install --no-deps torchvision timm") from error
    chosen = values["networks"].split(",") if "networks" in values else [*networks.COUNTED, *networks.PLANNED]
    runs = Counts.runs()
    counts = {name: measure.count(name) for name in networks.COUNTED if name in chosen}
    plans = {}
    for name in networks.PLANNED:
        if name in chosen:
            program = resume(runs, f"{name}.json", lambda name=name: measure.program(name))  # type: ignore[misc]
            plans[name] = {**program, **measure.estimate(name)}
    console.say(f"wrote {Counts(public_command('counts', arguments, {}), counts, plans).publish()}")
