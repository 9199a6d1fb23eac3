"""Tests of the report's section on the test stream: the plan, other methods, and a doubt about short streams."""

from copy import deepcopy

import pytest

from gatesearch.report import figures as report_figures
from gatesearch.report import page
from gatesearch.report.figures.det import _visible_points
from gatesearch.report.figures.openings import _list_gates
from gatesearch.report.sections import stream
from gatesearch.report.text import TIMES_SIGN
from tests.report.test_figures import STREAM_FIGURES

NO_BREAK = "\xa0"


def read_plain(rows: list[dict]) -> list[dict]:
    """Return the rows with plain spaces."""
    return [{key: value.replace(NO_BREAK, " ") for key, value in row.items()} for row in rows]


def figures(miss_rate: float, fa_per_hour: float) -> dict:
    return {
        "miss_rate": miss_rate,
        "miss_interval": [0.01, 0.25],
        "fa_per_hour": fa_per_hour,
        "fa_per_hour_interval": [0.2423, 7.2247],
        "latency_p50_ms": 320.4,
        "mean_power_mw": 3.526,
        "misses_by_background": {"quiet": {"count": 1, "rate": 0.5}},
        "fa_per_hour_by_background": {"speech": {"count": 2, "rate": 8.0}},
        "latencies_ms": [120.0, 320.4, 500.0],
        "stop_by_background": {"quiet": 0.9, "speech": 0.4},
        "parts": [
            part("idle and sensor", 1.0, 0.0, 0.3),
            part("level gate", 1.0, 0.0, 0.01),
            part("front end", 0.4, 500.0, 1.2),
            part("stage 0", 0.4, 500.0, 1.0),
            part("stage 1", 0.1, 200.0, 1.016),
        ],
    }


def part(name: str, share: float, openings: float, power: float) -> dict:
    runs = "steady" if share == 1 else "demand"
    return {
        "name": name,
        "core": "mcu",
        "runs": runs,
        "open_share": share,
        "openings_per_hour": openings,
        "power_mw": power,
    }


def ungated(miss_rate: float, power: float) -> dict:
    """Return the figures of a method without gates."""
    parts = [part("front end", 1.0, 0.0, 2.0), part("stage 0", 1.0, 0.0, power - 2)]
    stops = {"quiet": 0.0, "speech": 0.0}
    return figures(miss_rate, 3.0) | {"mean_power_mw": power, "parts": parts, "stop_by_background": stops}


TIMELINE = {
    "seconds": 600.0,
    "segments": [
        {"kind": "quiet", "start_s": 0.0, "end_s": 300.0},
        {"kind": "near_word", "start_s": 300.0, "end_s": 600.0},
    ],
    "events": [
        {"label": "stop", "start_s": 110.0, "end_s": 110.6, "detected": True},
        {"label": "stop", "start_s": 130.0, "end_s": 130.6, "detected": False},
    ],
    "detections": [
        {"label": "stop", "time_s": 110.9, "confidence": 0.9, "false": False},
        {"label": "stop", "time_s": 150.0, "confidence": 0.8, "false": True},
    ],
    "open": {"front end, stage 0": [[109.0, 112.0], [149.0, 151.0]], "stage 1": [[110.0, 111.0]]},
    "whole": {
        "times_s": [0.0, 300.0],
        "level_db": [-50.0, -30.0],
        "power_mw": {"idle and sensor": [0.3, 0.3], "front end": [1.0, 2.0], "stage 0": [0.5, 1.0]},
    },
    "detail": {"start_s": 100.0, "end_s": 160.0, "times_s": [100.0, 130.0, 160.0], "level_db": [-50.0, -40.0, -45.0]},
}


RECORD = {
    "goal": {"name": "detection", "quality": "detected"},
    "stream": {
        "hours": 1.0,
        "events": 100,
        "hop_ms": 40.0,
        "operating_point": {"fa_per_hour_wanted": 2.0},
        "doubt": "1 h is too short for 2 false accepts an hour",
        "picked": figures(0.1, 2.0),
        "rivals": {"ungated_hops": ungated(0.08, 4.5), "ungated_windows": figures(0.08, 3.0)},
        "missing_rivals": {"smaller_ungated": "backbone net has no argument 'width'"},
        "strongest_rival": "ungated_hops",
        "curves": {
            name: {"fa_per_hour": [40.0, 4.0, 0.0], "miss_rate": [0.02, 0.1, 0.3]}
            for name in ("picked", "ungated_hops", "ungated_windows")
        },
        "timeline": TIMELINE,
    },
}


def test_the_table_has_a_row_for_the_plan_and_for_each_rival() -> None:
    plan, by_hops, by_windows = read_plain(stream.build_table(RECORD))
    assert plan == {
        "name": "best plan, gated",
        "miss_rate": "10.0 % (1.0 % to 25.0 %)",
        "fa_per_hour": "2 (0.242 to 7.22)",
        "latency": "320 ms",
        "power": "3.53 mW",
    }
    assert (by_hops["name"], by_hops["power"]) == ("ungated, hop by hop", "4.5 mW")
    assert (by_windows["name"], by_windows["miss_rate"][:5]) == ("ungated, every window", "8.0 %")


def test_backgrounds_may_have_no_event_or_no_false_accept() -> None:
    assert read_plain(stream.build_groups(RECORD)) == [
        {"kind": "quiet", "miss_rate": "50.0 %", "fa_per_hour": "0"},
        {"kind": "speech", "miss_rate": "no event", "fa_per_hour": "8"},
    ]


def test_the_page_says_that_the_stream_is_short() -> None:
    text = page.render(RECORD)
    assert "Doubt: 1 h is too short for 2 false accepts an hour." in text


def test_other_goals_have_no_such_section() -> None:
    assert stream.build_table({}) == []
    assert "The test stream" not in page.render({"title": "clips"})


def test_the_first_sentence_names_the_gain_and_the_misses_of_both() -> None:
    sentence = stream.describe_gain(RECORD)
    assert sentence is not None
    assert sentence.replace(NO_BREAK, " ") == (
        f"The gates take 1.28{TIMES_SIGN} less mean power than the strongest rival, the ungated network run hop by "
        "hop: 3.53 mW instead of 4.5 mW at 2 false accepts an hour. They miss 10.0 % of the events, the rival 8.0 %."
    )
    text = page.render(RECORD)
    assert text.index("The gates take") < text.index('class="tiles"')


def test_the_first_sentence_says_when_nothing_is_gained() -> None:
    record = deepcopy(RECORD)
    record["stream"]["rivals"]["ungated_hops"]["mean_power_mw"] = 3.52
    sentence = stream.describe_gain(record)
    assert sentence is not None
    assert sentence.replace(NO_BREAK, " ") == (
        "The gates gain nothing: the strongest rival, the ungated network run hop by hop, takes 3.52 mW in the mean, "
        "the best plan 3.53 mW, at 2 false accepts an hour. The rival misses 8.0 % of the events, the best plan 10.0 %."
    )


@pytest.mark.parametrize("gains", [True, False])
@pytest.mark.parametrize("plan_misses", [0.1, 0.2])
@pytest.mark.parametrize("rival_misses", [(0.1, 0.3), (0.2, 0.3)])
def test_the_first_sentence_names_broken_bounds_on_misses(gains, plan_misses, rival_misses) -> None:
    record = deepcopy(RECORD)
    own = record["stream"]
    own["operating_point"]["max_miss_rate"] = 0.1
    own["picked"]["validation"] = {"fa_per_hour": 2.0, "miss_rate": plan_misses}
    for figures, misses in zip(own["rivals"].values(), rival_misses, strict=True):
        figures["validation"] = {"fa_per_hour": 2.0, "miss_rate": misses}
    if not gains:
        own["rivals"]["ungated_hops"]["mean_power_mw"] = 3.52
    sentence = (stream.describe_gain(record) or "").replace(NO_BREAK, " ")
    assert sentence.startswith("The gates take" if gains else "The gates gain nothing")
    plan_breaks = "The best plan breaks the bound on misses: it misses 20.0 % of the events of the validation stream"
    assert (plan_breaks in sentence) == (plan_misses > 0.1)
    rivals_break = "No rival keeps the bound on misses, 10.0 % of the events of the validation stream"
    assert (rivals_break in sentence) == (min(rival_misses) > 0.1)


def test_the_page_names_missing_rivals_and_the_parts_of_the_chain() -> None:
    text = page.render(RECORD)
    assert "Missing: smaller ungated network: backbone net has no argument" in text
    rows = read_plain(stream.build_parts(RECORD))
    assert rows[2] == {
        "name": "front end",
        "core": "mcu",
        "runs": "on demand",
        "open_share": "40.0 %",
        "openings": "500",
        "power": "1.2 mW",
    }


def test_every_figure_of_a_stream_is_drawn() -> None:
    drawn = report_figures.draw_all(RECORD)
    assert all(drawn[name] for name in STREAM_FIGURES)
    assert "ungated, hop by hop and every window" in str(drawn["det"])  # equal curves are one line
    assert "near word" in str(drawn["whole"]) and "near word" not in str(drawn["detail"])


@pytest.mark.parametrize("missing", ["curves", "timeline", "rivals", "strongest_rival", "hours"])
def test_a_record_of_an_older_run_is_drawn_as_far_as_it_goes(missing: str) -> None:
    record = deepcopy(RECORD)
    del record["stream"][missing]
    assert "The test stream" in page.render(record)


def test_streams_without_sound_have_no_level() -> None:
    record = deepcopy(RECORD)
    for stretch in ("detail", "whole"):
        record["stream"]["timeline"][stretch]["level_db"] = None
    drawn = report_figures.draw_all(record)
    assert drawn["detail"] and "level (dB)" not in str(drawn["detail"])


def test_parts_that_open_together_are_one_gate() -> None:
    rows = _list_gates("picked", RECORD["stream"]["picked"])
    assert [(row["label"].partition("\n")[2], row["openings"]) for row in rows] == [
        ("opens front end", 500.0),
        ("opens stage 1", 200.0),
    ]
    assert _list_gates("ungated_hops", RECORD["stream"]["rivals"]["ungated_hops"]) == []


def test_a_curve_never_rises_and_stays_on_its_axis() -> None:
    curve = {"fa_per_hour": [900.0, 50.0, 50.0, 8.0, 0.0], "miss_rate": [0.0, 0.2, 0.1, 0.05, 0.4]}
    assert _visible_points(curve, 0.5, 100.0) == [(0.5, 0.4), (8.0, 0.05), (100.0, 0.05)]


POWER = {"mean_power_mw": 2.0, "mean_power_interval_mw": [1.8, 2.5]}
LIFE = {"battery_days": 10.0, "battery_days_interval": [8.0, 11.1]}
COIN = {"mah": 220.0, "volts": 3.0, "efficiency": 0.73}


@pytest.mark.parametrize(
    ("battery", "picked", "sentence"),
    [
        (None, {"mean_power_mw": 2.0}, "With the best plan, the mean power is 2 mW."),
        (None, POWER, "With the best plan, the mean power is 2 mW (1.8 to 2.5 mW)."),
        (
            COIN,
            POWER | LIFE,
            "With the best plan, a battery of 220 mAh at 3 V lasts 10 days (8 to 11.1): the mean power is 2 mW (1.8 to "
            "2.5 mW).",
        ),
        (
            COIN,
            {"mean_power_mw": 2.0, "mean_power_interval_mw": [2.0, 2.0]}
            | LIFE
            | {"battery_days_interval": [10.0, 10.0]},
            "With the best plan, a battery of 220 mAh at 3 V lasts 10 days: the mean power is 2 mW.",
        ),
    ],
)
def test_the_first_sentence_is_on_battery_life_and_mean_power(battery, picked, sentence):
    text = stream.describe_power({"stream": {"battery": battery, "picked": picked}})
    assert text is not None and text.replace(NO_BREAK, " ") == sentence


def test_a_record_without_a_stream_has_no_sentence_on_power():
    assert stream.describe_power({}) is None
    assert stream.describe_power({"stream": {"picked": {}}}) is None
