"""`gatesearch bench dsg data.root=CIFAR10.npz`: precision gating, channel gating and both on CIFAR-10.

The tables and the figure of Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating technologies", row by
row. A row that is done is not run again, and one that was cut off goes on from where it was.
"""

from __future__ import annotations

import shlex

import torch

from gatesearch._lib import console
from gatesearch.errors import unknown
from gatesearch.pipeline.run_dir import RunFolder
from results import arguments
from results.dsg.pages import write
from results.dsg.protocol import PROTOCOLS, Protocol
from results.dsg.rows import SPECS, TABLES, Spec
from results.dsg.run import RUNS, Bench

WHERE = "bench dsg"
PUBLIC = {"data.root": "CIFAR10.npz"}
KEYS = ("data.root", "protocol", "seeds", "rows", "device")


def main(arguments: list[str]) -> None:
    """Run every row that is asked for and not done yet; write results/dsg.md, .json, .csv and plots after each.

    Args:
        arguments: ``data.root=``; ``protocol=``, paper where there is a GPU, else short; ``seeds=0,1,2``; ``rows=``
            tables or single rows, with commas between; ``device=cpu|cuda``; any key of the protocol.

    Raises:
        UserError: an argument is wrong, or there are results by other settings.
    """
    given, overrides = arguments.parted(WHERE, arguments, KEYS, Protocol)
    given = {"device": "cuda" if torch.cuda.is_available() else "cpu", **given}
    device = arguments.one_of(WHERE, "device", given["device"], ("cpu", "cuda"))
    given = {"protocol": "paper" if device == "cuda" else "short", **given}
    name = arguments.one_of(WHERE, "protocol", given["protocol"], PROTOCOLS)
    protocol = arguments.changed(WHERE, PROTOCOLS[name], overrides)
    seeds, specs = arguments.seeds(WHERE, given.get("seeds", "0")), _specs(given.get("rows", ",".join(TABLES)))
    torch.backends.cudnn.benchmark = True  # all batches of a training have one shape
    folder = RunFolder(RUNS / name)
    arguments.keep(folder, protocol.model_dump())
    command = shlex.join(["gatesearch", "bench", "dsg", *(arguments.public(text, PUBLIC) for text in arguments)])
    bench = Bench(folder, protocol, torch.device(device), given.get("data.root"))
    for seed in seeds:
        for spec in specs:
            if not bench.done(spec, seed):
                bench.run(spec, seed)
                write(RUNS, name, command)
    console.say(f"wrote {write(RUNS, name, command)}")


def _specs(written: str) -> list[Spec]:
    """Return the rows of the tables, or single rows, each once."""
    found: dict[str, Spec] = {}
    for name in written.split(","):
        if name not in TABLES and name not in SPECS:
            raise unknown(f"{WHERE}: rows", "table or row", name, [*TABLES, *SPECS])
        found |= {spec.name: spec for spec in TABLES.get(name) or [SPECS[name]]}
    return list(found.values())
