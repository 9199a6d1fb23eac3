"""`gatesearch bench search`: search engines replayed on tables in which every plan is evaluated.

`record=kws16|image16` makes a table anew, `record=supernet` says what a supernet makes of the first, `compare=3`
runs kws.yaml as it was and as it is. Without them the engines are replayed on the tables of results/search/tables, some
thousand times faster than they would train, and results/search.md, .json and .png are written.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from gatesearch._lib import console
from gatesearch.errors import UserError, unknown
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report.rows import FOLDER
from results import arguments
from results.search import table
from results.search.spaces import RECORDED

WHERE = "bench search"
RUNS = Path("runs/bench-search")
TABLES = FOLDER / "search" / "tables"
KEYS = ("record", "compare", "tables", "engines", "seeds", "evaluations")
SUPERNET = "supernet"
REPLAYED = ("kws16", "image16")
SLOW = {"Optuna GPSampler": (30, 5)}  # evaluations and seeds at most: a second a proposal, up to ten an evaluation
QUICK = dict.fromkeys(("sparse random", "sparse random with halving"), 5)  # times the evaluations of the others


def main(arguments: list[str]) -> None:
    """Record a table, or replay what is not replayed yet and write results/search.md, .json and .png.

    Args:
        arguments: ``record=kws16|image16|supernet``; ``compare=N``, real searches with so many seeds, as they
            were and as they are;
            or ``tables=kws16,image16``, ``engines=``, ``seeds=`` a number of them,
            ``evaluations=``.

    Raises:
        UserError: an argument is wrong, or there is no table.
    """
    given = {}
    for text in arguments:
        name, _, value = text.partition("=")
        if name not in KEYS or not value:
            raise unknown(WHERE, "key", name, KEYS)
        given[name] = value
    command = shlex.join(["gatesearch", "bench", "search", *arguments])
    if "compare" in given:
        from results.search import before

        before.record(RUNS / "compare", range(_count("compare", given["compare"])), TABLES / before.FILE, command)
        console.say(f"wrote {TABLES / before.FILE}")
    elif "record" in given:
        _record(arguments.one_of(WHERE, "record", given["record"], [*RECORDED, SUPERNET]), command)
    else:
        _replay(given, command)


def _record(name: str, command: str) -> None:
    if name == SUPERNET:
        from results.search import supernet, supernet_page

        path = TABLES / supernet_page.FILE
        supernet.record(_table(supernet.TABLE), RunFolder(RUNS / supernet.TABLE), path, command)
        console.say(f"wrote {path}")
        return
    from results.search.record import pack, record

    spec = RECORDED[name]
    run = record(spec, RunFolder(RUNS / name))
    path = TABLES / f"{name}.json.gz"
    pack(spec, run, path, command)
    console.say(f"wrote {path}")


def _replay(given: dict[str, str], command: str) -> None:
    from results.search.engines import ENGINES
    from results.search.pages import write
    from results.search.replay import PROPOSALS
    from results.search.run import replay_all

    names = given.get("tables", ",".join(REPLAYED)).split(",")
    engines = given["engines"].split(",") if "engines" in given else list(ENGINES)
    for engine in engines:
        arguments.one_of(WHERE, "engines", engine, ENGINES)
    seeds, evaluations = (
        _count(key, given.get(key, default)) for key, default in (("seeds", "20"), ("evaluations", "80"))
    )
    tables = [_table(name) for name in names]
    most = {engine: SLOW.get(engine, (evaluations * QUICK.get(engine, 1), seeds)) for engine in engines}
    budget = {
        engine: (min(evaluations * QUICK.get(engine, 1), n), range(min(seeds, s))) for engine, (n, s) in most.items()
    }
    folder = RunFolder(RUNS / "replays")
    arguments.keep(folder, {"evaluations": evaluations, "proposals": PROPOSALS * evaluations})
    replay_all(folder, tables, budget, lambda found: write(tables, found, command))
    console.say(f"wrote {FOLDER / 'search.md'}")


def _table(name: str) -> table.Table:
    arguments.one_of(WHERE, "tables", name, RECORDED)
    path = TABLES / f"{name}.json.gz"
    if not path.exists():
        raise UserError(f"{WHERE}: no table {path}; make it: gatesearch bench search record={name}")
    return table.read(path, name)


def _count(key: str, written: str) -> int:
    if not written.isdigit() or int(written) < 1:
        raise UserError(f"{WHERE}: {key}={written}: wanted: a whole number from 1")
    return int(written)
