"""What docs/gates.md shows is a gate that conforms, is searched and is exported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import places
import pytest
from test_given import LITTLE, network, squares

import gatesearch
from gatesearch.gates import base
from gatesearch.graph.sites import CutSite
from gatesearch.plan import PlacedGate
from gatesearch.recipe import schema
from gatesearch.testing.conformance import check_cut_gate

PAGE = Path(__file__).parent.parent / "docs" / "gates.md"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The page's module, installed as a plug-in beside the kinds that are there."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    module = ModuleType("page_of_gates")
    exec(compile(code, str(PAGE), "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    there = base.entry_points(group=base.GROUP)
    ours = EntryPoint("mean", f"{module.__name__}:Mean", base.GROUP)
    monkeypatch.setattr(base, "entry_points", lambda group: EntryPoints([*there, ours]))
    monkeypatch.setattr(schema, "plugins", lambda group: ())
    base.kinds.cache_clear()
    base._goes_at_cuts.cache_clear()
    yield module
    monkeypatch.undo()
    base.kinds.cache_clear()
    base._goes_at_cuts.cache_clear()


def test_the_page_conforms(plugin: ModuleType) -> None:
    site = CutSite("here", (8, 5, 4), 1, 1, 1, 1, "here")
    check_cut_gate(plugin.Mean(), site, PlacedGate.of("mean", "here"))


def test_the_page_is_searched_and_exported(plugin: ModuleType, tmp_path: Path) -> None:
    space = {"gates": {"min": 1, "max": 1}, "sites": ["0"], "kinds": {"mean": {"recall": [0.9, 0.95]}}}
    with places.working_in(tmp_path):
        run = gatesearch.run(network(), squares(), **(LITTLE | {"space": space}))
    assert [gate.kind for gate in run.picked.plan.gates] == ["mean"]
    assert run.parity.samples == 60 and run.parity.gate_agreement > 0.9
