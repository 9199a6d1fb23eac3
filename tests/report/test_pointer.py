"""Tests that marks of the report answer the pointer and the keyboard, in Chromium without a display."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gatesearch.report import figures
from gatesearch.report.cards import TERM_CONSTANTS, run_path
from gatesearch.report.fields import list_trained
from gatesearch.report.page import render
from gatesearch.report.style import TERMS
from tests.report.record_fixture import build_record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What a user does, and what the page then shows.
SCRIPT = """
const picture = document.querySelector("#front .picture"), card = picture.querySelector(".card");
const spots = [...picture.querySelectorAll(".spot")], said = {};
const at = (place) => { const box = spots[place].getBoundingClientRect();
  return { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true, detail: 1 }; };
const shown = () => card.hidden ? null : card.textContent;
said.before = shown();
picture.dispatchEvent(new PointerEvent("pointermove", at(0)));
said.hover = shown();
picture.dispatchEvent(new PointerEvent("pointerleave", {}));
said.left = shown();
picture.dispatchEvent(new MouseEvent("click", at(0)));
picture.dispatchEvent(new PointerEvent("pointerleave", {}));
said.kept = shown();
said.list = card.querySelectorAll("details li").length;
document.body.click();
said.beside = shown();
spots[0].focus();
said.focus = shown();
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
press("ArrowRight");
said.next = shown();
said.stops = spots.filter((spot) => spot.tabIndex === 0).length;
document.activeElement.click();
said.entered = card.classList.contains("kept");
press("Escape");
said.escape = shown();
said.label = spots[0].getAttribute("aria-label");
const others = [...document.querySelectorAll("script.marks")].map((each) => each.parentElement);
said.others = others.map((each) => each.querySelectorAll(".spot").length);
const output = document.createElement("pre");
output.id = "said";
output.textContent = JSON.stringify(said);
document.body.append(output);
"""


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return build_record()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_point_of_the_front_tells_its_plan_to_pointer_and_keyboard(whole: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(whole).replace("</body>", f"<script>{SCRIPT}</script></body>"))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    match = re.search(r'<pre id="said">(.*?)</pre>', dom, re.DOTALL)
    assert match, "the script of the page stopped with an error"
    said = json.loads(html.unescape(match.group(1)))
    first, second = sorted(list_trained(whole), key=lambda trial: float(trial["expected_energy_uj"]))[:2]
    command_line = f"gatesearch pick {run_path(whole)} plan={first['digest']}"
    for action in ("hover", "kept", "focus"):
        assert f"plan {first['digest']}" in said[action] and command_line in said[action], action
        assert "mean power" in said[action] and "measured" in said[action] and "constants behind it" in said[action]
    assert f"plan {second['digest']}" in said["next"]
    assert said["before"] is said["left"] is said["beside"] is said["escape"] is None
    assert said["entered"] and said["stops"] == 1 and said["list"] > 0
    assert said["label"].startswith(f"plan {first['digest']}") and all(said["others"])


def test_marks_lie_over_their_points(whole: dict[str, Any]) -> None:
    picture = figures.draw_pictures(whole)["front"]
    assert picture is not None
    trials = sorted(list_trained(whole), key=lambda trial: float(trial["expected_energy_uj"]))
    plans = [mark for mark in picture.marks if mark["title"].startswith("plan ")]
    assert [mark["title"].split()[1].strip(",") for mark in plans] == [trial["digest"] for trial in trials]
    lefts = [mark["at"][0] for mark in plans]
    assert lefts == sorted(lefts) and all(0 <= share <= 100 for mark in picture.marks for share in mark["at"])
    best = max(range(len(trials)), key=lambda k: trials[k]["accuracy"])
    assert plans[best]["at"][1] == min(mark["at"][1] for mark in plans)  # the top of a page is 0


def test_parts_of_the_energy_name_the_constants_behind_them(whole: dict[str, Any]) -> None:
    picture = figures.draw_pictures(whole)["energy-term"]
    assert picture is not None
    gated = [mark for mark in picture.marks if mark["title"].endswith(", gated")]
    assert len(gated) == sum(value > 0 for value in whole["energy"]["by_term"].values())
    widths = {mark["title"].removesuffix(", gated"): mark["at"][2] for mark in gated}
    terms = whole["energy"]["by_term"]
    assert sorted(widths, key=lambda term: widths[term]) == sorted(widths, key=lambda term: terms[term])
    paths = [constant["path"] for constant in whole["constants"]]
    for mark in gated:
        words = TERM_CONSTANTS[mark["title"].removesuffix(", gated")]
        assert all(any(word in paths[place] for word in words) for place in mark["constants"])


def test_every_term_of_the_energy_has_its_constants() -> None:
    assert set(TERM_CONSTANTS) == set(TERMS)


def test_without_scripts_each_picture_is_still_there(whole: dict[str, Any]) -> None:
    page = re.sub(r"<script.*?</script>", "", render(whole), flags=re.DOTALL)
    assert page.count('<div class="picture"><svg') == page.count('<div class="picture">') > 5
