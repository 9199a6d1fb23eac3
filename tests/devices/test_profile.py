"""Tests of device profiles: shipped profiles load, and a mistake in a profile gives an error of one line."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.testing.devices import DeviceConformance


@pytest.fixture(scope="module")
def three_core() -> dict:
    return yaml.safe_load(profile.shipped()["three_core"].read_text())


@pytest.fixture()
def broken(three_core, tmp_path):
    """Return a function that changes one value of a profile, loads the profile, and returns the error.

    The profile is a copy of three_core; None as the value deletes the key.
    """

    def change(*path_and_value) -> str:
        *path, key, value = path_and_value
        content = copy.deepcopy(three_core)
        node = content
        for part in path:
            node = node[part]
        if value is None:
            del node[key]
        else:
            node[key] = value
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump(content))
        with pytest.raises(UserError) as error:
            profile.load(file)
        assert "\n" not in str(error.value)
        return str(error.value).replace(str(file), "mine.yaml")

    return change


@pytest.mark.parametrize("name", profile.names())
def test_shipped_profiles_load_and_give_a_source_for_every_number(name):
    device = profile.load(name)
    assert device.name == name
    result = profile.list_constants(device)
    assert len(result) == len({path for path, _ in result}) >= 7
    for path, constant in result:
        assert len(constant.source.split()) >= 4, path
        assert constant.provenance != "measured" or "measurement" in constant.source


def test_three_core_has_the_cores_of_its_description():
    device = profile.load("three_core")
    assert device.core_names == ("mcu", "npu", "app")
    mcu, npu, app = device.cores
    assert mcu.timing.table == "cortex_m4" and mcu.timing.latency_us(120e6) == pytest.approx(1e6)
    assert mcu.timing.latency_us(mcu.timing.cost_without_kernel(120e6)) == pytest.approx(2.32e6)
    assert npu.timing.latency_us(250.0) == pytest.approx(1.0)
    assert app.timing.latency_us(25.0) == pytest.approx(25.0)
    assert (mcu.timing.provenance, npu.timing.provenance, app.timing.provenance) == (
        "simulated",
        "modelled",
        "measured",
    )
    assert mcu.timing.frontend_us(120.0) == pytest.approx(4.0) and npu.timing.frontend_us(1.0) is None
    assert mcu.compute_uj(1000.0) == pytest.approx(10.0)
    assert npu.weights_uj(1000) == pytest.approx(0.1)
    assert device.sense.window_uj(2.0) == pytest.approx(400.0)
    assert device.link("mcu", "npu").transfer_uj(1000) == pytest.approx(0.05)
    assert device.link("mcu", "npu").transfer_us(1000) == pytest.approx(5.0)
    assert device.link("npu", "mcu") is None
    assert device.core("npu") is npu


def test_constants_have_readable_names():
    paths = [path for path, _ in profile.list_constants(profile.load("three_core"))]
    assert {
        "cores.mcu.active_mw",
        "links.mcu-npu.nj_per_byte",
        "sense.sensor_mw",
        "cores.npu.timing.clock_mhz",
    } <= set(paths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("cores", 1, "active_nw", 3),
            "mine.yaml:68: cores.npu.active_nw: unknown key 'active_nw'; nearest: 'active_mw'",
        ),
        (("cores", 0, "timing", "model", "velo"), "mine.yaml:45: cores.mcu.timing.model: 'velo'"),
        (
            ("cores", 1, "timing", "accelerator", "ethos-u55-129"),
            "cores.npu.timing.accelerator: 'ethos-u55-129'",
        ),
        (("cores", 0, "active_mw", "unit", "W"), "cores.mcu.active_mw.unit: 'W' does not fit; must be 'mW'"),
        (("cores", 0, "active_mw", "provenance", "assumd"), "cores.mcu.active_mw.provenance: 'assumd'"),
        (("cores", 0, "active_mw", "value", -1.0), "cores.mcu.active_mw.value: -1.0"),
        (
            ("cores", 0, "timing", "clock_mhz", "value", 0.0),
            "cores.mcu.timing.clock_mhz.value: 0.0 does not fit",
        ),
        (("cores", 0, "active_mw", 8.0), "cores.mcu.active_mw: 8.0"),
        (("cores", 2, "idle_mw", None), "cores.app.idle_mw: this key is missing"),
        (("cores", 2, "name", "mcu"), "cores: the name 'mcu' is given twice"),
        (("links", 0, "target", "npx"), "links.0.target: unknown core 'npx'; nearest: 'npu'"),
        (("sense", "core", "mcp"), "sense.core: unknown core 'mcp'; nearest: 'mcu'"),
        (("sense", "core", "npu"), "sense.core: 'npu' has no figure for the front end"),
        (("schema_version", 2), "schema_version: 2"),
        (("cors", []), "mine.yaml:163: cors: unknown key 'cors'; nearest: 'cores'"),
        (("cores", []), "mine.yaml:1: cores: []"),
    ],
)
def test_every_mistake_gives_one_line_with_file_key_and_value(broken, change, message):
    assert message in broken(*change)


def test_the_error_for_a_misspelt_choice_names_the_nearest(broken):
    assert "nearest: 'ethos-u55-128'" in broken("cores", 1, "timing", "accelerator", "ethos-u55-12")
    assert "nearest: 'vela'" in broken("cores", 0, "timing", "model", "velo")
    assert "nearest: 'assumed'" in broken("cores", 0, "active_mw", "provenance", "assumd")


def test_files_that_are_not_profiles_are_refused(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bad.yaml").write_text("a: [1\nb: 2\n")
    for name, words in [("list.yaml", "is a mapping, found list"), ("bad.yaml", r"bad\.yaml:2: not YAML")]:
        with pytest.raises(UserError, match=words):
            profile.load(tmp_path / name)
    with pytest.raises(
        UserError,
        match=r"no file '.*none\.yaml'; shipped: apollo510, cortex_a, host, m55_u55, ndp120, nrf54lm20b, stm32l4r5, "
        "stm32u385, stm32u3c5, stm32u575, bit_serial, three_core",
    ):
        profile.load(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="unknown device 'tree_core'; nearest: 'three_core'"):
        profile.load("tree_core")


ABSURD = st.one_of(
    st.floats(max_value=0, exclude_max=True),
    st.floats(0, 1e-12, exclude_min=True, exclude_max=True),
    st.floats(min_value=1e15, exclude_min=True),
    st.just(math.nan),
    st.booleans(),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), absurd=ABSURD)
def test_an_absurd_number_gives_an_error_of_one_line(three_core, tmp_path, data, absurd):
    changed = copy.deepcopy(three_core)
    numbers = [path for path in number_paths(changed) if path[0] != "schema_version"]
    path = data.draw(st.sampled_from(numbers))
    node = changed
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = absurd
    file = tmp_path / "absurd.yaml"
    file.write_text(yaml.safe_dump(changed))
    with pytest.raises(UserError) as caught:
        profile.load(file)
    message = str(caught.value)
    assert "\n" not in message and str(path[-1]) in message


def number_paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict | list):
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from number_paths(inner, (*path, key))
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path


def test_a_key_that_occurs_twice_is_refused(tmp_path, three_core):
    file = tmp_path / "twice.yaml"
    file.write_text(yaml.safe_dump(three_core) + "description: again\n")
    with pytest.raises(UserError, match="duplicate key description"):
        profile.load(file)


def test_the_error_for_an_unknown_core_names_the_nearest():
    with pytest.raises(UserError, match="unknown core 'npux'; nearest: 'npu'"):
        profile.load("three_core").core("npux")


def test_other_packages_can_add_profiles(monkeypatch, three_core, tmp_path):
    file = tmp_path / "theirs.yaml"
    file.write_text(yaml.safe_dump(three_core | {"name": "theirs"}))

    class Point:
        name = "theirs"

        def load(self) -> Path:
            return file

    monkeypatch.setattr(metadata, "entry_points", lambda group: [Point()] if group == profile.ENTRY_POINTS else [])
    assert profile.names() == (*profile.shipped(), "theirs")
    assert profile.load("theirs").name == "theirs"


@pytest.mark.parametrize("name", profile.names())
class TestShippedProfiles(DeviceConformance):
    @pytest.fixture(autouse=True)
    def _loaded(self, name: str) -> None:
        type(self).device = profile.load(name)


def test_conformance_names_a_broken_promise():
    class Suite(DeviceConformance):
        device = profile.load("three_core")

    npu = Suite.device.core("npu")
    free = npu.model_copy(update={"active_mw": npu.active_mw.model_copy(update={"value": 0.0})})
    Suite.device = Suite.device.model_copy(update={"cores": (Suite.device.core("mcu"), free)})
    with pytest.raises(AssertionError, match="npu: has no active power"):
        Suite().test_a_core_that_runs_draws_power()
