"""The base class of benchmarks, which turns stored measurements into rows, a page and plots."""

from __future__ import annotations

import operator
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import jinja2

from gatesearch._lib.revision import revision as package_revision
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe.overrides import split_argument
from gatesearch.report.rows import RESULTS, Row, write_results

RUNS = Path("runs")
TEMPLATE = "page.md.j2"
NOT_RUN = "not run"
HERE = Path(__file__).parent

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}

Draw = Callable[[Path], object]


class Benchmark(ABC):
    """A benchmark. Its code, and the template of its page, are in the folder ``results/NAME``.

    Args:
        command: command that repeats the benchmark, without the user's own paths.
        results: folder that holds a folder for each benchmark.
    """

    name: ClassVar[str]

    def __init__(self, command: str, results: Path = RESULTS) -> None:
        self.command = command
        self.folder = results / self.name

    @classmethod
    def runs(cls) -> RunFolder:
        """Return the folder that stores the measurements."""
        return RunFolder(RUNS / f"bench-{cls.name}")

    @abstractmethod
    def rows(self) -> list[Row]:
        """Return every figure of the benchmark as a row."""

    @abstractmethod
    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the page's template, except ``command``."""

    def plots(self) -> Mapping[str, Draw]:
        """Return the functions that draw the plots, by the file name of the plot."""
        return {}

    def row(
        self,
        name: str,
        values: Mapping[int, float],
        unit: str,
        *,
        protocol: str,
        provenance: str = "measured",
        target: str | None = None,
        command: str | None = None,
    ) -> Row:
        """Return a row of rows.json: a figure with a value for each seed; see :class:`gatesearch.report.rows.Row`.

        Without ``command``, the row has the benchmark's own.
        """
        return Row.summarise(
            name,
            values,
            unit,
            target=target,
            provenance=provenance,
            protocol=protocol,
            command=command or self.command,
        )

    def text(self) -> str:
        """Return the page as Markdown."""
        return render(self.name, command=self.command, **self.page())

    def publish(self) -> Path:
        """Write rows, page and plots from the stored measurements, and return the path of the page."""
        path = write_results(self.folder, self.rows(), self.text(), revision())
        for file, draw in self.plots().items():
            draw(self.folder / file)
        return path


def render(name: str, **values: object) -> str:
    """Return a benchmark's page: the template with ``values`` filled in, and without repeated empty lines."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    text = environment.get_template(f"{name}/{TEMPLATE}").render(values)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text


def resume(folder: RunFolder, file: str, measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the measurement that a file holds; if there is no file, measure and write the file."""
    value: dict[str, Any] | None = folder.read_json(file)
    if value is None:
        value = dict(measure())
        folder.write_json(file, value)
    return value


def resume_same(
    folder: RunFolder, file: str, settings: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the measurement that a file holds; if it was made with other settings, or there is none, measure again.

    The measurement in the file has its settings under the key ``settings``.
    """
    value: dict[str, Any] | None = folder.read_json(file)
    if value is None or value["settings"] != settings:
        value = {"settings": dict(settings), **measure()}
        folder.write_json(file, value)
    return value


def public_command(name: str, arguments: Sequence[str], public: Mapping[str, str]) -> str:
    """Return a benchmark's command as pages show it, without the user's own paths.

    Args:
        name: name of the benchmark.
        arguments: strings ``key=value``, as the user wrote them.
        public: word that replaces the user's own path, by key.

    >>> public_command("kws", ["data.root=/home/me/words", "seeds=0"], {"data.root": "WORDS"})
    'gatesearch bench kws data.root=WORDS seeds=0'
    """
    return shlex.join(["gatesearch", "bench", name, *(public_argument(text, public) for text in arguments)])


def public_argument(text: str, public: Mapping[str, str]) -> str:
    """Return an argument in which a public word replaces the user's own path.

    >>> public_argument("data.root=/home/me/words", {"data.root": "WORDS"}), public_argument("seeds=0", {})
    ('data.root=WORDS', 'seeds=0')
    """
    key, _ = split_argument(text)
    return f"{key}={public[key]}" if key in public else text


@cache
def revision() -> str:
    """Return version and commit of the package; "with changes" follows if the code differs from the commit."""
    package = package_revision()
    if "commit" not in package or package.endswith("with changes"):
        return package
    status = ["git", "status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.j2"]
    changed = subprocess.run(status, cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()
    return f"{package} with changes" if changed else package


def meets_target(target: str, value: float) -> bool:
    """Return whether a figure meets its target.

    >>> meets_target("<= 1.3", 1.2), meets_target("> 1", 1.0)
    (True, False)
    """
    comparison, bound = target.split()
    return COMPARISONS[comparison](value, float(bound))


def describe_verdict(met: bool) -> str:
    """Return the words that pages print for a target that was met, or was not met."""
    return "reached" if met else "**not reached**"


def describe_machine(stamp: Mapping[str, Any]) -> str:
    """Return the paragraph of a page that names the machine and the versions of libraries."""
    return f"Machine: {stamp['cpu']}, {stamp['cores']} cores. Versions: {list_versions(stamp)}."


def list_versions(stamp: Mapping[str, Any]) -> str:
    """Return the versions of libraries on a machine, separated by commas.

    >>> list_versions({"python": "3.11.7", "versions": {"torch": "2.13.0", "onnx": None}})
    'python 3.11.7, torch 2.13.0'
    """
    versions = {"python": stamp.get("python"), **(stamp.get("versions") or {})}
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)


def group_by_commit(measurements: Iterable[tuple[str, str]]) -> str:
    """Return a sentence that lists the measurements of each commit; empty if one commit made all measurements.

    Args:
        measurements: pairs: the name of a measurement, and the commit that made it.

    >>> group_by_commit([("a", "commit 1"), ("b", "commit 2"), ("c", "commit 1")])
    'Made by commit 1: a, c; by commit 2: b.'
    >>> group_by_commit([("a", "commit 1"), ("b", "commit 1")])
    ''
    """
    commits: dict[str, dict[str, None]] = {}
    for measurement, commit in measurements:
        commits.setdefault(commit, {})[measurement] = None
    if len(commits) < 2:
        return ""
    groups = [f"by {commit}: {', '.join(names)}" for commit, names in commits.items()]
    return f"Made {'; '.join(groups)}."
