"""Tests of what works without extras (optional dependencies), and of the error that names a missing extra."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gatesearch
from gatesearch._lib import plugins
from gatesearch.errors import UserError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_THE_RAY_EXTRA = ("gatesearch.search.executors.ray_searcher", "gatesearch.search.executors.tune")
NOT_OF_THE_CORE = (*OF_THE_RAY_EXTRA, "gatesearch.bench", "gatesearch.__main__")

# A program for a process of its own: it hides the packages that its arguments name, then runs the code that it reads
# from standard input.
HIDING = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)

    def find_distributions(self, *context):  # torchmetrics asks for matplotlib's version, then imports it
        for distribution in getattr(self.finder, "find_distributions", lambda *_: ())(*context):
            if distribution.metadata["Name"].lower().replace("-", "_") not in hidden:
                yield distribution

hidden = set(sys.argv[1:])
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
exec(sys.stdin.read())
"""


def run_without(modules: set[str], code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HIDING, *modules], input=code, capture_output=True, text=True)


def all_extra_modules() -> set[str]:
    return {module for modules in plugins.EXTRAS.values() for module in modules}


def test_the_core_imports_without_any_extra() -> None:
    names = sorted(
        module.name
        for module in pkgutil.walk_packages(gatesearch.__path__, "gatesearch.")
        if not module.name.startswith(NOT_OF_THE_CORE)
    )
    assert len(names) > 100
    code = "import importlib\n" + "".join(f"importlib.import_module({name!r})\n" for name in names)
    done = run_without(all_extra_modules() | {"flatbuffers", "jax"}, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", OF_THE_RAY_EXTRA)
def test_modules_for_ray_name_their_extra(name: str) -> None:
    done = run_without({"ray"}, f"import {name}")
    assert "UserError: search.executor: needs ray of the extra 'ray': pip install 'gatesearch[ray]'" in done.stderr


def test_a_missing_extra_is_one_line_and_status_2() -> None:
    done = run_without(
        all_extra_modules(), "from gatesearch.cli.app import main; sys.exit(main(['run', 'recipe=codec_dsl.yaml']))"
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "gatesearch run: needs litert_torch of the extra 'export': pip install 'gatesearch[export]'" in done.stderr


def test_need_accepts_installed_modules_and_names_the_extra_of_missing_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.need("report", "matplotlib")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        UserError, match=r"^report: needs matplotlib of the extra 'report': pip install 'gatesearch\[report\]'$"
    ):
        plugins.need("report", "jinja2", "matplotlib")


def test_the_table_of_extras_equals_that_of_pyproject() -> None:
    modules_of: dict[str, set[str]] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for distribution in distributions:
            modules_of.setdefault(canonicalize_name(distribution), set()).add(module)
    core = {canonicalize_name(Requirement(requirement).name) for requirement in PROJECT["dependencies"]}
    for extra, modules in plugins.EXTRAS.items():
        required = {
            canonicalize_name(Requirement(requirement).name) for requirement in PROJECT["optional-dependencies"][extra]
        }
        for module in modules:
            brought_by = {name for name in required if module in modules_of.get(name, ())}
            assert brought_by, f"extra {extra} does not install {module}"
            assert not brought_by & core, f"{module} is in the core already"
        for name in required - core - {"gatesearch", "sqlalchemy"}:
            assert modules_of.get(name, set()) & set(modules), f"extra {extra} has no module of {name}"


def test_neither_an_import_nor_help_imports_torch() -> None:
    code = "import gatesearch; from gatesearch.cli.app import main; sys.exit(main(['--help']))"
    done = run_without({"torch", "numpy"}, code)
    assert done.returncode == 0, done.stderr
    assert "gatesearch run recipe=kws.yaml" in done.stdout


def test_every_dependency_has_a_tested_version_within_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    tested = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    extras = [
        requirement
        for name, extra in PROJECT["optional-dependencies"].items()
        if name != "bench"
        for requirement in extra
    ]
    for text in (*PROJECT["dependencies"], *extras):
        requirement = Requirement(text)
        if requirement.name != "gatesearch":
            version = tested[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version, prereleases=True), f"{text}: constraints.txt has {version}"


def test_readme_installs_the_tested_versions() -> None:
    commands = re.findall(r"^    python3 -m venv .*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert len(commands) == 2
    assert all(" -c constraints.txt " in command for command in commands)
