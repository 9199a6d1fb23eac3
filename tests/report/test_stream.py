"""The report's section on the test stream: the plan beside other methods, and doubt if it is short."""

from gatesearch.report import page
from gatesearch.report.sections import stream

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
        "rivals": {"ungated_windows": figures(0.08, 3.0)},
    },
}


def test_a_row_for_the_plan_and_for_each_rival() -> None:
    plan, ungated = read_plain(stream.build_table(RECORD))
    assert plan == {
        "name": "best plan, gated",
        "miss_rate": "10.0 % (1.0 % to 25.0 %)",
        "fa_per_hour": "2 (0.242 to 7.22)",
        "latency": "320 ms",
        "power": "3.53 mW",
    }
    assert (ungated["name"], ungated["miss_rate"][:5]) == ("ungated, every window", "8.0 %")


def test_backgrounds_without_events_or_without_false_accepts() -> None:
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
