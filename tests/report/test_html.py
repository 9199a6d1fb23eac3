"""Tests of the report as an HTML page: its sections for whole, partial and broken records."""

from __future__ import annotations

import copy
import html
import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import gatesearch.report
from gatesearch.errors import UserError
from gatesearch.report import figures
from gatesearch.report.page import render
from tests.report.record_fixture import build_record

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """A parser that checks that tags nest, and collects the tags, links, ids and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "srcset"}]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def run(tmp_path: Path, record: dict[str, Any]) -> Path:
    (tmp_path / "record.json").write_text(json.dumps(record))
    return tmp_path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the report of a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "record.json").write_text(json.dumps(build_record()))
    path = gatesearch.report.write_page(folder)
    assert path == folder / "report.html"
    assert sorted(os.listdir(folder)) == ["record.json", "report.html"]
    return path.read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    # Writing SVG takes nearly all the time of a page, and these tests do not depend on the SVG.
    monkeypatch.setattr(figures, "inline_svg", lambda drawing, name, label: f"<svg><title>{name}</title></svg>")


def test_the_report_is_one_self_contained_file(page: str, record: dict[str, Any]) -> None:
    parsed = Page(page)
    assert all(link.startswith("#") for link in parsed.links)
    assert not re.search(r"url\((?!#)|@import|<script[^>]*src|<link|<image|xmlns", page)
    sources = [constant["source"] for constant in record["constants"]]
    assert all(any(url in source for source in sources) for url in re.findall(r"https?://[^\s,<\"]+", page))
    assert "not yet" not in parsed.text


def test_every_reference_inside_the_page_has_its_target_and_ids_are_unique(page: str) -> None:
    ids = Page(page).ids
    assert len(ids) == len(set(ids))
    targets = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert targets and targets <= set(ids)


def test_every_constant_artifact_and_plan_parameter_appears(record: dict[str, Any], undrawn: None) -> None:
    text = Page(render(record)).text
    for constant in record["constants"]:
        assert all(str(constant[key]) in text for key in ("path", "unit", "provenance", "source"))
    for artifact in record["artifacts"]:
        assert artifact["path"] in text
        assert artifact["sha256"][:12] in text
        assert f"{artifact['bytes']:,}" in text
    assert json.dumps(record["plan"]) in text
    assert all(text_ in text for text_ in (record["command"], record["data"]["source"], record["machine"]["cpu"]))


def test_range_condition_and_date_of_a_constant_and_clocks_of_a_plan_appear(
    record: dict[str, Any], undrawn: None
) -> None:
    constant = {
        "path": "cores.mcu.active_mw",
        "value": 5.39,
        "unit": "mW",
        "provenance": "derived",
        "source": "the mean of four runs",
        "condition": "96 MHz, 1.8 V",
        "date": "2025-09",
        "low": 5.09,
        "high": None,
    }
    changed = copy.deepcopy(record) | {"constants": [constant]}
    core = changed["plan"]["cores"][0]
    changed["plan"]["clocks"] = {core: "48MHz"}
    changed["stages"][0]["clock"] = "48MHz"
    changed["trials"][0]["plan"] = changed["plan"]
    text = Page(render(changed)).text
    assert "5.39 (5.09 to 5.39)" in text and "the mean of four runs (96 MHz, 1.8 V), 2025-09" in text
    assert f"clock of {core}" in text and f"; {core} at 48MHz" in text and "clock 48MHz" in " ".join(text.split())


def test_headline_figures_stand_beside_those_of_the_ungated_backbone(record: dict[str, Any], undrawn: None) -> None:
    text = Page(render(record)).text.replace("\u00a0", " ")
    for number in ("94.8 %", "95.2 %", "116 µJ", "510 µJ", "4.39\u00d7", "78.4 %", "8.6\u00d7"):
        assert number in text


@pytest.mark.parametrize("synthetic", [True, False])
def test_only_synthetic_data_have_a_banner(record: dict[str, Any], undrawn: None, synthetic: bool) -> None:
    record["data"]["synthetic"] = synthetic
    assert ('class="banner"' in render(record)) is synthetic


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", page)).split())


def test_gated_layers_have_their_section(record: dict[str, Any], undrawn: None) -> None:
    text = words(render(record))
    for row in (
        "blocks.0.pointwise 75.0 % 512 k 394 k 77.0 % 77.0 %",
        "blocks.3.pointwise 69.0 % 512 k 335 k 65.5 % 200.0 %",
    ):
        assert row in text
    assert "mcu skips channel" in text and "npu skips nothing, cannot skip pixel" in text
    assert "Kernels of mcu: kernel source of mcu. Kernels of npu: kernel source of npu." in text
    assert "no gate, fewer inputs" in text and "all 2.05 M 1.45 M 70.7 %" in text
    assert "fbs in blocks.0.pointwise: density 0.75; pg in blocks.2.pointwise, blocks.3.pointwise: bits 8" in text


def test_a_plan_without_gates_in_layers_has_no_such_section(record: dict[str, Any], undrawn: None) -> None:
    for layers in ([], None):
        best = {key: value for key, value in record["best"].items() if not key.startswith("layer_")}
        page = render(record | {"layers": layers, "best": best})
        assert not re.search("gated layers", Page(page).text, re.IGNORECASE) and 'id="layers"' not in page


def test_the_page_of_a_plan_that_stops_nothing_does_not_mention_stopping(
    layer_gates_record: dict[str, Any], undrawn: None
) -> None:
    page = render(layer_gates_record)
    text = words(page)
    assert {"reach", "gates"}.isdisjoint(Page(page).ids) and "layers" in Page(page).ids
    assert not re.search("early stop|gate recall|same gate decisions|calibrate thresholds|papers' formula", text)
    assert "none stops a window" in text and "not yet" not in text


def test_a_plan_without_any_gate_says_so(layer_gates_record: dict[str, Any], undrawn: None) -> None:
    layer_gates_record["plan"]["gates"], layer_gates_record["layers"] = [], []
    assert "The plan has no gates" in words(render(layer_gates_record))


def test_without_negatives_the_page_gives_one_accuracy(layer_gates_record: dict[str, Any], undrawn: None) -> None:
    assert "precision of positives" in words(render(layer_gates_record))
    layer_gates_record["data"]["positive"], layer_gates_record["data"]["stream"] = [True] * 12, {"positive": 1.0}
    text = words(render(layer_gates_record))
    assert "precision of positives" not in text and "Negatives none" in text
    assert "are means over the stream" not in text


def test_the_stream_section_gives_the_measured_ratio(record: dict[str, Any], undrawn: None) -> None:
    assert "takes 0.253\u00d7 the ungated time" in words(render(record))
    record["streaming"] |= {"gated_us": 3260.0, "ratio": 0.5}
    assert "takes 2\u00d7 the ungated time" in words(render(record))


def test_missing_figures_of_a_new_run_read_not_yet(empty: dict[str, Any]) -> None:
    page = render(empty)
    assert "<figure" not in page
    assert Page(page).text.count("not yet") > 20
    assert 'class="badge measured">' in page  # the legend stays


def test_a_bare_backbone_is_drawn_before_a_plan_is_picked(
    empty: dict[str, Any], record: dict[str, Any], undrawn: None
) -> None:
    text = Page(render(empty | {"sites": record["sites"]})).text
    assert all(site["name"] in text for site in record["sites"])


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key in nested mappings; items of a list have the path of the list."""
    if isinstance(tree, list):
        for item in tree:
            yield from leaves(item, path)
    elif isinstance(tree, dict):
        for key, branch in tree.items():
            yield (*path, key)
            yield from leaves(branch, (*path, key))


def without(tree: Any, path: tuple[str, ...]) -> None:
    if isinstance(tree, list):
        for item in tree:
            without(item, path)
    elif isinstance(tree, dict) and path[0] in tree:
        if len(path) == 1:
            tree[path[0]] = [] if isinstance(tree[path[0]], list) else None
        else:
            without(tree[path[0]], path[1:])


# Keys that a record's sites, gates and trials always have.
NAMES = {
    ("sites", "name"),
    ("plan", "gates", "kind"),
    ("plan", "gates", "site"),
    ("trials", "plan", "gates", "site"),
}


def test_the_page_can_be_drawn_from_any_part_of_the_record(
    record: dict[str, Any], empty: dict[str, Any], undrawn: None
) -> None:
    for key in record:
        Page(render(empty | {key: record[key]}))


@pytest.mark.slow
def test_no_missing_value_breaks_the_page(record: dict[str, Any], undrawn: None) -> None:
    record["trials"] = [trial for trial in record["trials"] if trial["accuracy"]][:6]
    for path in sorted(set(leaves(record)) - NAMES):
        partial = copy.deepcopy(record)
        without(partial, path)
        Page(render(partial))


def test_names_from_users_are_escaped_everywhere(record: dict[str, Any]) -> None:
    text = json.dumps(record).replace("_unknown_", "<b>").replace("blocks.1", "<i>$x_1$</i>").replace("mcu", "m&<u>")
    changed = json.loads(text)
    changed["data"]["classes"][0] = "<b>"
    changed["title"] = changed["data"]["source"] = changed["command"] = "</pre><em>"
    page = render(changed)
    parsed = Page(page)
    assert not parsed.tags & {"u", "em"}
    assert "<b>$" not in page and "<i>$" not in page
    for name in ("<b>", "<i>$x_1$</i>", "m&<u>"):
        assert html.escape(name) in page
        assert name in parsed.text


def test_nan_reads_as_not_yet(run: Path, record: dict[str, Any], undrawn: None) -> None:
    record["best"]["accuracy"] = float("nan")
    (run / "record.json").write_text(json.dumps(record))
    assert "nan" not in Page(gatesearch.report.write_page(run).read_text(encoding="utf-8")).text.lower().split()


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), ("{", "not JSON"), ("[]", "list")])
def test_an_unreadable_record_is_a_user_error(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "record.json").write_text(content)
    with pytest.raises(UserError, match=rf"record\.json: .*{message}"):
        gatesearch.report.write_page(tmp_path)


def test_a_failed_write_leaves_the_old_report(run: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None) -> None:
    (run / "report.html").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        gatesearch.report.write_page(run)
    assert (run / "report.html").read_text() == "old"
    assert sorted(os.listdir(run)) == ["record.json", "report.html"]


@pytest.mark.usefixtures("undrawn")
def test_measured_times_of_the_front_stand_beside_the_predicted_ones(record: dict[str, Any]) -> None:
    assert "Whole path" not in Page(render(record)).text
    trial = next(trial for trial in record["trials"] if trial["on_front"])
    trial |= {"measured_path_us": 1530.0, "predicted_path_us": 1470.0}
    text = Page(render(record)).text
    assert "1.53\xa0ms" in text and "1.47\xa0ms" in text and "Whole path, predicted" in text


@pytest.mark.usefixtures("undrawn")
def test_a_picked_plan_near_the_front_is_listed_with_it(record: dict[str, Any]) -> None:
    assert "near the front" not in Page(render(record)).text
    trial = next(trial for trial in record["trials"] if trial["digest"] == record["best"]["digest"])
    trial["on_front"] = False
    text = Page(render(record)).text
    assert "picked, near the front" in text and "pick.tolerance" in text
