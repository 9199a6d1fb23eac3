"""`gatesearch bench hmd speech=DIR har=FILE`: hybrid matrices against their rivals on four recurrent networks.

A row that is done is not run again. Without recordings, speech and activities are synthetic, and labelled so.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from gatesearch import config, console
from gatesearch.bench.hmd.pages import write
from gatesearch.bench.hmd.protocol import PROTOCOLS, Protocol
from gatesearch.bench.hmd.rows import METHODS, SPECS, TASKS, Spec
from gatesearch.bench.hmd.run import RUNS, Bench
from gatesearch.errors import UserError, unknown
from gatesearch.folder import RunFolder

WHERE = "bench hmd"
ROOTS: Mapping[str, str] = {"speech": "SPEECH_COMMANDS", "har": "har_windows.npz"}  # and what is published of them
KEYS = (*ROOTS, "protocol", "seeds", "rows")


def main(arguments: list[str]) -> None:
    """Run every row that is asked for and not done yet; write results/hmd.md, .json and plots after each task.

    Args:
        arguments: ``speech=`` and ``har=``, where recordings lie; ``protocol=short|full``; ``seeds=0,1,2``; ``rows=``
            tasks, methods or single rows, with commas between; any key of the protocol.

    Raises:
        UserError: an argument is wrong, or there are results by other settings.
    """
    given, overrides = _parted(arguments)
    name = _one_of("protocol", given.get("protocol", "short"), PROTOCOLS)
    protocol = _protocol(PROTOCOLS[name], overrides)
    seeds, specs = _seeds(given.get("seeds", "0")), _specs(given.get("rows", ",".join(TASKS)))
    folder = RunFolder(RUNS / name)
    roots = {key: given.get(key) for key in ROOTS}
    _keep(folder, {**protocol.model_dump(), **{key: "given" if roots[key] else "synthetic" for key in ROOTS}})
    command = shlex.join(["gatesearch", "bench", "hmd", *(_public(text) for text in arguments)])
    bench = Bench(folder, protocol, roots)
    left = [(spec, seed) for seed in seeds for spec in specs if not bench.done(spec, seed)]
    with console.progress(len(left), "trainings") as bar:
        for spec, seed in left:
            bench.run(spec, seed)
            bar.advance()
            write(RUNS, name, command)
    for task in dict.fromkeys(spec.task for spec in specs):
        if not bench.timed(task):
            bench.time(task)
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
    """Return the rows of tasks or methods, or single rows, each once."""
    found: dict[str, Spec] = {}
    for name in written.split(","):
        chosen = {key: spec for key, spec in SPECS.items() if name in (key, spec.task, spec.method)}
        if not chosen:
            raise unknown(f"{WHERE}: rows", "task, method or row", name, [*TASKS, *METHODS, *SPECS])
        found |= chosen
    return [spec for spec in SPECS.values() if spec.name in found]


def _keep(folder: RunFolder, wanted: Mapping[str, object]) -> None:
    """Note the settings of a folder's results, and let no others in."""
    kept = folder.read_json("settings.json")
    if kept is None:
        folder.write_json("settings.json", dict(wanted))
    elif changed := sorted(key for key in wanted | kept if wanted.get(key) != kept.get(key)):
        key = changed[0]
        raise UserError(
            f"{folder.path}: holds results with {key} {kept.get(key)}, not {wanted.get(key)}; move it away or delete it"
        )


def _public(text: str) -> str:
    """Leave the user's own paths out of what is published."""
    key, _, _ = text.partition("=")
    return f"{key}={ROOTS[key]}" if key in ROOTS else text
