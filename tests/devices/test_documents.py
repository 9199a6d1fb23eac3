"""Tests of profiles that inherit: what they change, and which file and line an error names."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch.devices import profile
from gatesearch.devices.constants import Constant
from gatesearch.errors import UserError

HEAD = "schema_version: 1\nname: mine\nbase: three_core\n"


@pytest.fixture()
def write(tmp_path):
    """Return a function that writes a profile and returns its path."""

    def write_profile(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_profile


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        profile.load(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(path.parent) + "/", "")


def constant(value: object, unit: str = "mW") -> str:
    return f"{{value: {value}, unit: {unit}, provenance: published, source: data sheet of the part}}"


def test_a_profile_that_changes_one_line_has_all_other_values_of_its_base(write):
    mine = profile.load(write(f"{HEAD}cores:\n- name: npu\n  active_mw: {constant(40.0)}\n"))
    base = profile.load("three_core")
    own, theirs = (dict(profile.list_constants(device)) for device in (mine, base))
    assert own.keys() == theirs.keys()
    assert [path for path in own if own[path] != theirs[path]] == ["cores.npu.active_mw"]
    assert mine.core("npu").active_mw.value == 40.0
    assert (mine.name, mine.base, mine.core_names) == ("mine", "three_core", base.core_names)


def test_a_chain_of_bases_is_followed_and_relative_paths_start_at_the_naming_file(write, tmp_path):
    (tmp_path / "parts").mkdir()
    write(f"{HEAD}sense: {{sensor_mw: {constant(0.4)}}}\n", "parts/first.yaml")
    write("schema_version: 1\nname: second\nbase: first.yaml\ndescription: second\n", "parts/second.yaml")
    device = profile.load(write("schema_version: 1\nname: third\nbase: parts/second.yaml\n", "third.yaml"))
    assert (device.name, device.description, device.sense.sensor_mw.value) == ("third", "second", 0.4)


def test_a_new_core_is_added_and_a_null_removes_a_key(write):
    link = f"{{source: mcu, target: dsp, nj_per_byte: {constant(0, 'nJ/byte')}, mb_per_s: {constant(10, 'MB/s')}}}"
    base = yaml.safe_load(profile.shipped()["three_core"].read_text())
    core = {**base["cores"][1], "name": "dsp"}
    text = (
        f"{HEAD}cores:\n- {yaml.safe_dump(core, default_flow_style=True, width=10_000)}- {{name: app, kernels: null}}\n"
    )
    device = profile.load(write(f"{text}links: [{link}]\n"))
    assert device.core_names == ("mcu", "npu", "app", "dsp")
    assert device.link("mcu", "dsp") is not None and device.link("mcu", "npu") is not None
    assert not device.core("app").kernels.native


def test_a_timing_of_another_model_replaces_that_of_the_base(write):
    timing = f"{{model: throughput, macs_per_us: {constant(50, 'MAC/us')}}}"
    device = profile.load(write(f"{HEAD}cores:\n- name: npu\n  timing: {timing}\n"))
    assert device.core("npu").timing.latency_us(100.0) == 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: three_cor\n", "mine.yaml:3: base: device: unknown device 'three_cor'; nearest: 'three_core'"),
        ("base: none.yaml\n", "mine.yaml:3: base: device: no file"),
        ("base: [three_core]\n", "mine.yaml:3: base: "),
        ("base: mine.yaml\n", "mine.yaml:3: base: a profile cannot inherit from itself: mine.yaml > mine.yaml"),
        (
            "base: three_core\ncores:\n- name: npu\n  active_mw: {value: 3}\n",
            "mine.yaml:6: cores.npu.active_mw.unit: this key is missing",
        ),
        (
            "base: three_core\ncores:\n- name: npu\n  actve_mw: 3\n",
            "mine.yaml:6: cores.npu.actve_mw: unknown key 'actve_mw'; nearest: 'active_mw'",
        ),
        (
            "base: three_core\ncores:\n- name: app\n  idle_mw: null\n",
            "mine.yaml:6: cores.app.idle_mw: this key is missing",
        ),
        ("base: three_core\nsense:\n  core: mcp\n", "mine.yaml:5: sense.core: unknown core 'mcp'; nearest: 'mcu'"),
    ],
)
def test_an_error_of_a_profile_that_inherits_names_its_line(write, text, message):
    assert message in error_of(write(f"schema_version: 1\nname: mine\n{text}"))


def test_two_profiles_that_inherit_from_each_other_are_refused(write):
    write("schema_version: 1\nname: other\nbase: mine.yaml\n", "other.yaml")
    message = error_of(write("schema_version: 1\nname: mine\nbase: other.yaml\n"))
    assert message == "other.yaml:3: base: a profile cannot inherit from itself: mine.yaml > other.yaml > mine.yaml"


def test_a_mistake_in_the_base_is_named_in_the_base(write):
    base = yaml.safe_load(profile.shipped()["three_core"].read_text())
    base["cores"][2]["idle_mw"]["unit"] = "W"
    path = write(yaml.safe_dump(base), "theirs.yaml")
    line = 1 + path.read_text().splitlines().index("    unit: W") if "    unit: W" in path.read_text() else 0
    message = error_of(write("schema_version: 1\nname: mine\nbase: theirs.yaml\ncores: [{name: app}]\n"))
    assert message == f"theirs.yaml:{line}: cores.app.idle_mw.unit: 'W' does not fit; must be 'mW'"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_each_absurd_constant_of_a_profile_that_inherits_is_named_with_its_line(write, data):
    paths = [path.split(".") for path, _ in profile.list_constants(profile.load("three_core"))]
    core = data.draw(st.sampled_from([path for path in paths if path[0] == "cores" and len(path) == 3]))
    path = write(f"{HEAD}cores:\n- name: {core[1]}\n  {core[2]}: {constant(-1, 'mW')}\n")
    assert error_of(path).startswith(f"mine.yaml:6: {'.'.join(core)}")


def test_a_constant_knows_its_age_range_and_condition():
    fields = {"value": 5.0, "unit": "mW", "provenance": "published", "source": "MLPerf Tiny results v1.3"}
    one = Constant(**fields, condition="96 MHz, 1.8 V", date="2025-09-15", low=4.5, high=6.0)
    assert one.age_years(datetime.date(2026, 9, 15)) == pytest.approx(1.0)
    assert Constant(**fields).age_years(datetime.date(2026, 9, 15)) is None


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("low: 9.0", "low: 9 is on the wrong side of the value, 8; must be low <= value <= high"),
        ("high: 7", "high: 7 is on the wrong side of the value, 8; must be low <= value <= high"),
        ("low: -1", "low: -1: must be 0, or from"),
        ("date: 2025-13", "date: '2025-13': "),
        ("date: last year", "date: 'last year': "),
        ("dat: 2025-09", "dat: unknown key 'dat'; nearest: 'date'"),
    ],
)
def test_a_wrong_range_or_date_gives_one_line(write, extra, message):
    written = constant(8.0).replace("}", f", {extra}}}")
    assert f"cores.npu.active_mw.{message}" in error_of(write(f"{HEAD}cores:\n- name: npu\n  active_mw: {written}\n"))
