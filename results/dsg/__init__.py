"""`gatesearch bench dsg data.root=CIFAR10.npz`: precision gating and channel gating on CIFAR-10.

The benchmark repeats Tables 1 and 2 and Figure 2 of Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating
technologies". A row of a table is a network that is trained for each seed. A finished row is not trained again. An
interrupted row continues from its last checkpoint.
"""

from __future__ import annotations

import torch

from gatesearch._lib import console
from gatesearch.errors import unknown
from gatesearch.pipeline.run_dir import RunFolder
from results.arguments import change_protocol, check_choice, lock_settings, read_seeds, split_protocol
from results.benchmark import public_command
from results.dsg.page import SpatialGating
from results.dsg.protocol import PROTOCOLS, Protocol
from results.dsg.rows import SPECS, TABLES, Spec
from results.dsg.run import Bench

WHERE = "bench dsg"
PUBLIC = {"data.root": "CIFAR10.npz"}  # word that replaces the user's own path in published commands
KEYS = ("data.root", "protocol", "seeds", "rows", "device")


def main(arguments: list[str]) -> None:
    """Train every requested row that has no result yet; write results/dsg after each row.

    Args:
        arguments: ``data.root=FILE``, CIFAR-10 as .npz; ``protocol=paper|short``, by default paper on a GPU and short
            on a CPU; ``seeds=0,1,2``; ``rows=NAME,NAME``, names of tables or single rows; ``device=cpu|cuda``; any key
            of the protocol.

    Raises:
        UserError: an argument is wrong, or the folder holds results of other settings.
    """
    values, overrides = split_protocol(WHERE, arguments, KEYS, Protocol)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    device = check_choice(WHERE, "device", values.get("device", default), ("cpu", "cuda"))
    default = "paper" if device == "cuda" else "short"
    name = check_choice(WHERE, "protocol", values.get("protocol", default), PROTOCOLS)
    protocol = change_protocol(WHERE, PROTOCOLS[name], overrides)
    seeds, specs = read_seeds(WHERE, values.get("seeds", "0")), _specs(values.get("rows", ",".join(TABLES)))
    torch.backends.cudnn.benchmark = True  # all batches of a training have the same shape
    folder = RunFolder(SpatialGating.runs() / name)
    lock_settings(folder, protocol.model_dump())
    bench = Bench(folder, protocol, torch.device(device), values.get("data.root"))
    benchmark = SpatialGating(public_command("dsg", arguments, PUBLIC), name)
    for seed in seeds:
        for spec in specs:
            if not bench.done(spec, seed):
                bench.run(spec, seed)
                benchmark.publish()
    console.say(f"wrote {benchmark.publish()}")


def _specs(written: str) -> list[Spec]:
    """Return the rows that an argument lists as names of tables or of single rows, each row once."""
    specs: dict[str, Spec] = {}
    for name in written.split(","):
        if name not in TABLES and name not in SPECS:
            raise unknown(f"{WHERE}: rows", "table or row", name, [*TABLES, *SPECS])
        specs |= {spec.name: spec for spec in TABLES.get(name) or [SPECS[name]]}
    return list(specs.values())
