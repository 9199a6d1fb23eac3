"""The model card of a bundle says what the manifest and the summary say, in lines that fit a terminal."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gatesearch.report.card_figures import NOT_YET
from gatesearch.report.model_card import WIDTH, render_card

SHARES = st.floats(0, 1)
NAMES = st.text("abcdefgh_", min_size=1, max_size=12)


@st.composite
def manifests(draw: st.DrawFn, listens: bool) -> dict[str, Any]:
    classes = draw(st.lists(NAMES, min_size=2, max_size=30, unique=True))
    stages = []
    count = draw(st.integers(1, 4))
    for k in range(count):
        gate = None if k + 1 == count else {"kind": "gc", "site": draw(NAMES)}
        program = {"path": f"mcu/stage{k}.tflite", "bytes": draw(st.integers(1, 10**7))}
        outputs = {"logits": {}} if k + 1 == count else {"passed": {}, "logit": {}}
        stages.append(
            {"index": k, "core": "mcu", "program": program, "arithmetic": "int8", "gate": gate, "outputs": outputs}
        )
    manifest = {
        "digest": "0123456789ab",
        "device": "three_core",
        "classes": classes,
        "stages": stages,
        "recipe": draw(NAMES),
        "synthetic_data": draw(st.booleans()),
    }
    if listens:
        stream = {"rate": 16000, "window": 16000, "hop": draw(st.sampled_from([160, 320, 640]))}
        manifest["detector"] = {"positives": classes[:1], "stream": stream}
    return manifest


@st.composite
def summaries(draw: st.DrawFn, listens: bool) -> dict[str, Any]:
    figures = st.fixed_dictionaries(
        {"miss_rate": SHARES, "fa_per_hour": st.floats(0, 99), "mean_power_mw": st.floats(0.01, 99)}
    )
    warnings = st.lists(st.text("abc :", min_size=1, max_size=300).map(str.strip).filter(bool), max_size=3)
    summary: dict[str, Any] = {
        "data": {"source": draw(NAMES), "train": 100, "validation": 20, "test": draw(st.integers(1, 10**6))},
        "best": {"accuracy": draw(SHARES), "expected_energy_uj": draw(st.floats(0.1, 1e6)), "expected_latency_us": 5.0},
        "baseline": {"accuracy": draw(SHARES), "energy_uj": 7.0, "latency_us": 9.0},
        "export": {"parity": {"gate_agreement": draw(SHARES), "samples": 100}},
        "warnings": draw(warnings),
        "stream": None,
    }
    if listens:
        summary["stream"] = {
            "hours": draw(st.floats(0.01, 99)),
            "events": draw(st.integers(1, 999)),
            "operating_point": {"fa_per_hour_wanted": 1.0},
            "picked": draw(figures),
        }
        summary["rivals"] = draw(st.sampled_from([{}, {"ungated_hops": draw(figures)}]))
    return summary


@st.composite
def cards(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    listens = draw(st.booleans())
    manifest, summary = draw(manifests(listens)), draw(st.one_of(st.none(), summaries(listens)))
    constants = [{"provenance": each} for each in draw(st.lists(st.sampled_from(["assumed", "published"]), max_size=9))]
    return manifest, summary, render_card(manifest, summary, constants)


@given(cards())
def test_a_card_has_the_figures_and_fits_a_terminal(drawn: tuple[dict[str, Any], dict[str, Any] | None, str]) -> None:
    manifest, summary, card = drawn
    text = " ".join(card.split())
    titles = [line for line in card.splitlines() if line.startswith("#")]
    assert titles[0] == f"# {manifest['recipe']}: model card" and len(titles) == 7
    assert "None" not in card and "nan" not in text.split()
    for line in card.splitlines():
        assert len(line) <= WIDTH or line.startswith("|") or " " not in line.strip("- ")
    for stage in manifest["stages"]:
        assert f"{stage['program']['bytes']:,}" in card
    if summary is None:
        assert NOT_YET in text
        return
    assert f"{summary['export']['parity']['gate_agreement']:.2%} of 100 test windows" in text
    for warning in summary["warnings"]:
        assert " ".join(warning.split()) in text
    if summary["stream"] is None:
        assert f"| accuracy | {100 * summary['best']['accuracy']:.1f} % |" in card
    else:
        picked = summary["stream"]["picked"]
        assert f"{picked['miss_rate']:.1%}" in card and f"{picked['mean_power_mw']:.3g} mW" in card


def test_public_data_are_named_with_their_licence() -> None:
    summary = {
        "data": {"source": "WAV files in speech_commands", "train": 1, "validation": 1, "test": 1},
        "best": {},
        "baseline": {},
        "export": {"parity": {"gate_agreement": 1.0, "samples": 1}},
    }
    manifest = {"classes": ["a"], "digest": "0", "device": "host", "stages": []}
    stage = {
        "index": 0,
        "core": "host",
        "program": {"path": "a", "bytes": 1},
        "arithmetic": "int8",
        "gate": None,
        "outputs": {"logits": {}},
    }
    card = render_card(manifest | {"stages": [stage]}, summary)
    assert "has the licence CC BY 4.0" in " ".join(card.split())
