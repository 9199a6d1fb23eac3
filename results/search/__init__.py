"""`gatesearch bench search`: compares search engines (GateSampler and samplers of other libraries).

By default, every engine searches recorded tables (results/search/tables). A table holds the outcome of every plan of a
search space, so a search on a table (a *replay*) trains nothing. A replay is about a thousand times faster than a
search that trains.
`record=kws16|image16` records a table anew. `compare=3` runs real searches of kws_clips.yaml with TPE and with
GateSampler, on three seeds.
"""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report.rows import RESULTS
from results.arguments import check_choice, check_choices, lock_settings, read_count, read_keys
from results.benchmark import public_command
from results.search import table
from results.search.page import REPLAYED, SearchEngines
from results.search.spaces import RECORDED

WHERE = "bench search"
KEYS = ("record", "compare", "tables", "engines", "seeds", "evaluations")
# Largest number of evaluations, and of seeds, for an engine whose proposal takes about a second.
SLOW = {"Optuna GPSampler": (30, 5)}
# Factor by which an engine gets more evaluations than the others, because its proposals take nearly no time.
QUICK = {"sparse random": 5}


def main(arguments: list[str]) -> None:
    """Record a table, run real searches, or run the missing replays and write results/search.

    Args:
        arguments: ``record=kws16|image16``; ``compare=N``, real searches with N seeds; for replays:
            ``tables=kws16,image16``, ``engines=NAME,NAME``, ``seeds=N`` and ``evaluations=N``.

    Raises:
        UserError: an argument is wrong, or there is no table.
    """
    values = read_keys(WHERE, arguments, KEYS)
    command = public_command("search", arguments, {})
    tables = RESULTS / SearchEngines.name / "tables"
    if "compare" in values:
        from results.search import real_searches

        path, seeds = tables / real_searches.RECORD_FILE, range(read_count(WHERE, "compare", values["compare"]))
        real_searches.record(SearchEngines.runs() / "compare", seeds, path, command)
        console.say(f"wrote {path}")
    elif "record" in values:
        from results.search import recording

        name = check_choice(WHERE, "record", values["record"], RECORDED)
        path = tables / f"{name}.json.gz"
        run = recording.record(RECORDED[name], RunFolder(SearchEngines.runs() / name))
        recording.pack(RECORDED[name], run, path, command)
        console.say(f"wrote {path}")
    else:
        _replay(values, command)


def _replay(values: dict[str, str], command: str) -> None:
    from results.search.engines import ENGINES
    from results.search.replay import PROPOSALS
    from results.search.replays import replay_all

    names = check_choices(WHERE, "tables", values.get("tables", ",".join(REPLAYED)), RECORDED)
    engines = check_choices(WHERE, "engines", values.get("engines", ",".join(ENGINES)), ENGINES)
    seeds = read_count(WHERE, "seeds", values.get("seeds", "20"))
    evaluations = read_count(WHERE, "evaluations", values.get("evaluations", "80"))
    tables = [_read_table(name) for name in names]
    budget = {}
    for engine in engines:
        most_evaluations, most_seeds = SLOW.get(engine, (evaluations * QUICK.get(engine, 1), seeds))
        budget[engine] = (min(evaluations * QUICK.get(engine, 1), most_evaluations), range(min(seeds, most_seeds)))
    folder = RunFolder(SearchEngines.runs() / "replays")
    lock_settings(folder, {"evaluations": evaluations, "proposals": PROPOSALS * evaluations})
    replay_all(folder, tables, budget, lambda outcomes: SearchEngines(command, tables, outcomes).publish())
    console.say(f"wrote {RESULTS / SearchEngines.name}")


def _read_table(name: str) -> table.Table:
    path = RESULTS / SearchEngines.name / "tables" / f"{name}.json.gz"
    if not path.exists():
        raise UserError(f"{WHERE}: no table {path}; make it: gatesearch bench search record={name}")
    return table.read(path, name)
