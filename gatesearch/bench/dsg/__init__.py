"""`gatesearch bench dsg data.root=CIFAR10.npz`: precision gating, channel gating and both on CIFAR-10.

The tables and the figure of Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating technologies", row by
row. A row that is done is not run again, and one that was cut off goes on from where it was.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

import torch

from gatesearch import config, console
from gatesearch.bench.dsg.pages import write
from gatesearch.bench.dsg.protocol import PROTOCOLS, Protocol
from gatesearch.bench.dsg.rows import SPECS, TABLES, Spec
from gatesearch.bench.dsg.run import RUNS, Bench
from gatesearch.errors import UserError, unknown
from gatesearch.folder import RunFolder

WHERE = "bench dsg"
KEYS = ("data.root", "protocol", "seeds", "rows", "device")


def main(arguments: list[str]) -> None:
    """Run every row that is asked for and not done yet; write results/dsg.md, .json, .csv and plots after each.

    Args:
        arguments: ``data.root=``; ``protocol=``, paper where there is a GPU, else short; ``seeds=0,1,2``; ``rows=``
            tables or single rows, with commas between; ``device=cpu|cuda``; any key of the protocol.

    Raises:
        UserError: an argument is wrong, or there are results by other settings.
    """
    given, overrides = _parted(arguments)
    device = _one_of("device", given.get("device", "cuda" if torch.cuda.is_available() else "cpu"), ("cpu", "cuda"))
    name = _one_of("protocol", given.get("protocol", "paper" if device == "cuda" else "short"), PROTOCOLS)
    protocol = _protocol(PROTOCOLS[name], overrides)
    seeds, specs = _seeds(given.get("seeds", "0")), _specs(given.get("rows", ",".join(TABLES)))
    torch.backends.cudnn.benchmark = True  # all batches of a training have one shape
    folder = RunFolder(RUNS / name)
    _keep(folder, protocol)
    command = shlex.join(["gatesearch", "bench", "dsg", *(_public(text) for text in arguments)])
    bench = Bench(folder, protocol, torch.device(device), given.get("data.root"))
    for seed in seeds:
        for spec in specs:
            if not bench.done(spec, seed):
                bench.run(spec, seed)
                write(RUNS, name, command)
    console.say(f"wrote {write(RUNS, name, command)}")


def _parted(arguments: Sequence[str]) -> tuple[Mapping[str, str], list[config.Override]]:
    """Part what is for the benchmark from what is for the protocol."""
    given, overrides = {}, []
    for text in arguments:
        key, _, value = text.partition("=")
        if key in KEYS and value:
            given[key] = value
        elif key in Protocol.model_fields or not value:
            overrides.append(config.Override.parse(text))
        else:
            raise unknown(WHERE, "key", key, [*KEYS, *Protocol.model_fields])
    return given, overrides


def _one_of(key: str, written: str, choices: Iterable[str]) -> str:
    if written not in choices:
        raise unknown(f"{WHERE}: {key}", key, written, choices)
    return written


def _protocol(default: Protocol, overrides: Sequence[config.Override]) -> Protocol:
    tree = default.model_dump()
    for override in overrides:
        tree = override.apply(tree)
    return config.check(Protocol, tree, WHERE, overrides)


def _seeds(written: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in written.split(","))
    except ValueError:
        raise UserError(f"{WHERE}: seeds={written}: seeds are whole numbers with commas between") from None


def _specs(written: str) -> list[Spec]:
    """Return the rows of the tables, or single rows, each once."""
    found: dict[str, Spec] = {}
    for name in written.split(","):
        if name not in TABLES and name not in SPECS:
            raise unknown(f"{WHERE}: rows", "table or row", name, [*TABLES, *SPECS])
        found |= {spec.name: spec for spec in TABLES.get(name) or [SPECS[name]]}
    return list(found.values())


def _keep(folder: RunFolder, protocol: Protocol) -> None:
    """Note the settings of a folder's results, and let no others in."""
    wanted, kept = protocol.model_dump(), folder.read_json("settings.json")
    if kept is None:
        folder.write_json("settings.json", wanted)
    elif changed := sorted(key for key in wanted | kept if wanted.get(key) != kept.get(key)):
        key = changed[0]
        raise UserError(
            f"{folder.path}: holds results with {key} {kept.get(key)}, not {wanted.get(key)}; move it away or delete it"
        )


def _public(text: str) -> str:
    """Leave the user's own paths out of what is published."""
    return "data.root=CIFAR10.npz" if text.startswith("data.root=") else text
