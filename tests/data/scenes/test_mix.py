"""Tests of drawing and mixing scenes (labelled streams), and of the file of a scene's specification."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch._lib import console
from gatesearch.data.scenes.draw import draw_sound
from gatesearch.data.scenes.mix import iterate_stretches, make_scene, mix_stretch
from gatesearch.data.scenes.sources import ClipSequence, digest_samples
from gatesearch.data.scenes.spec import (
    SceneSpec,
    SpecClip,
    SpecEvent,
    SpecPiece,
    SpecSource,
    check_spec,
    join_digests,
    outline_spec,
    read_spec,
    render_spec,
    write_spec,
)
from gatesearch.errors import UserError
from tests.data.scenes.clips import RATE, make_sources, short_settings

SPLITS = ("train", "validation", "test")


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), split=st.sampled_from(SPLITS), stretch_s=st.floats(0.3, 50))
def test_a_scene_is_made_again_bit_for_bit_from_its_file(seed: int, split: str, stretch_s: float) -> None:
    drawn = draw_sound(short_settings(seed=seed, split=split), make_sources(split))  # type: ignore[arg-type]
    scene = make_scene(drawn, make_sources(split))  # type: ignore[arg-type]
    again = check_spec(json.loads(render_spec(drawn)), "scene.json")
    assert again == drawn
    stretches = list(iterate_stretches(again, make_sources(split), stretch_s))  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.concatenate([stretch for _, stretch, _ in stretches]), scene.samples)
    assert scene.samples.dtype == np.int16 and len(scene.samples) == drawn.samples == 180 * RATE


def test_the_same_settings_draw_the_same_scene_and_another_seed_another() -> None:
    first, second = (draw_sound(short_settings(seed=1), make_sources()) for _ in range(2))
    assert first == second
    assert first != draw_sound(short_settings(seed=2), make_sources())


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_the_ratio_in_the_specification_is_the_ratio_in_the_mix(seed: int) -> None:
    """The power of an event is compared with the power of the background pieces under the event."""
    spec, sources = draw_sound(short_settings(seed=seed), make_sources()), make_sources()
    clips = ClipSequence(spec.clips, sources)
    for event in spec.events:
        start, end = event.start, event.start + event.samples
        fade = round(0.01 * RATE)
        alone = mix_stretch([event], clips, start, end, fade).astype(np.float64)
        below = mix_stretch(spec.pieces, clips, start, end, fade).astype(np.float64)
        measured = 10 * np.log10(np.mean(alone**2) / np.mean(below**2))
        assert event.snr_db == pytest.approx(measured, abs=0.01)
        kind = next(each.kind for each in spec.segments if each.start <= start < each.start + each.samples)
        assert event.background == kind


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_events_lie_where_the_specification_says_and_do_not_overlap(seed: int) -> None:
    spec = draw_sound(short_settings(seed=seed), make_sources())
    scene = make_scene(spec, make_sources())
    silent = spec.model_copy(update={"events": ()})
    difference = scene.samples.astype(int) - make_scene(silent, make_sources()).samples
    inside = np.zeros(len(difference), bool)
    for event, entry in zip(scene.events, spec.events, strict=True):
        first, end = round(event.start_s * RATE), round(event.end_s * RATE)
        assert (first, end) == (entry.start, entry.start + entry.samples)
        assert not inside[max(0, first - RATE) : end + RATE].any()  # gap_s is 1
        inside[first:end] = True
        assert difference[first:end].any()
    assert not difference[~inside].any()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_ratios_are_in_their_range_where_the_background_is_loud_enough(seed: int) -> None:
    bounds = {"snr_db": [3, 9], "event_db": [-90, 0], "level_db": [-50, -40]}
    spec = draw_sound(short_settings(seed=seed, **bounds), make_sources())
    for event in spec.events:
        assert event.snr_db is not None
        assert 3 - 0.01 <= event.snr_db <= 9.01


@pytest.mark.parametrize("gain", [1.0, 3.0, 1e6])
def test_a_mix_beyond_full_scale_is_limited_and_a_line_says_so(gain: float) -> None:
    sources = make_sources()
    clip = sources.clips[0]
    samples = sources.read(clip)
    digest = digest_samples(samples)
    entry = SpecClip(source="words", name=clip.name, recording="r", speaker=None, samples=len(samples), digest=digest)
    piece = SpecPiece(clip=0, clip_start=0, start=0, samples=len(samples), gain=gain)
    event = SpecEvent(label="yes", start=0, samples=len(samples), clip=0, gain=gain)
    spec = SceneSpec(
        name="loud",
        split="train",
        signal="sound",
        sample_rate=float(RATE),
        samples=len(samples),
        seed=0,
        classes=("yes",),
        sources=(SpecSource(name="words", settings={}, digest=join_digests([digest])),),
        clips=(entry,),
        pieces=(piece,),
        segments=(),
        events=(event,),
    )
    with console.collect_warnings() as lines:
        scene = make_scene(spec, sources)
    middle = slice(10, -10)
    expected = np.clip(np.rint(samples.astype(np.float64) * gain * 2), -32768, 32767)
    np.testing.assert_allclose(scene.samples[middle], expected[middle], atol=1 if gain < 1e3 else 0)
    over = np.count_nonzero(np.abs(samples.astype(np.float64) * gain * 2) > 32768)
    assert bool(lines) == (scene.clipped > 0) == (over > 0)
    assert all("'loud'" in line and "exceed full scale" in line for line in lines)


def test_a_background_kind_has_its_share_to_the_second() -> None:
    spec = draw_sound(short_settings(shares={"quiet": 0.25, "noise": 0.75}), make_sources())
    totals = {kind: sum(each.samples for each in spec.segments if each.kind == kind) for kind in ("quiet", "noise")}
    assert totals == {"quiet": 45 * RATE, "noise": 135 * RATE}
    ends = [each.start + each.samples for each in spec.segments]
    assert [each.start for each in spec.segments] == [0, *ends[:-1]] and ends[-1] == spec.samples


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_events_over_speech_is_the_one_that_is_set(share: float) -> None:
    spec = draw_sound(short_settings(speech_overlap=share, gap_s=0.1), make_sources())
    assert sum(event.background == "speech" for event in spec.events) == 20 * share


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": {"near_word": 1.0}}, "shares.near_word: no source has a clip of this kind in the train split"),
        ({"hours": 1e-9}, "hours: 1e-09 hours at 1000 Hz are less than one sample"),
        ({"events": 500}, "events: 500 events with gaps of 1 s find no room in 0.05 hours"),
        ({"speech_overlap": 1.0, "shares": {"quiet": 1.0}}, "find no room"),
    ],
)
def test_settings_that_cannot_be_drawn_give_an_error_of_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        draw_sound(short_settings(**changes), make_sources())
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_sources_without_events_or_without_quiet_give_one_line() -> None:
    with pytest.raises(UserError, match="none has a clip of an event in the train split"):
        draw_sound(short_settings(), make_sources(words=()))


def test_a_missing_or_changed_clip_gives_an_error_of_one_line() -> None:
    spec = draw_sound(short_settings(), make_sources())
    with pytest.raises(UserError, match="of the train split, and the sources are of test"):
        make_scene(spec, make_sources("test"))
    with pytest.raises(UserError, match=r"source 'words': no clip 'no/train\d.wav' in its train split; nearest: '"):
        make_scene(spec, make_sources(words=("yes",)))
    entry = spec.clips[0]
    changed = entry.model_copy(update={"digest": "0" * 16})
    with pytest.raises(UserError, match="has changed: it is not what the scene was drawn from"):
        make_sources().find(changed)
    with pytest.raises(UserError, match="source 'other' is missing; there are: words"):
        make_sources().find(entry.model_copy(update={"source": "other"}))


def test_a_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    spec = draw_sound(short_settings(), make_sources())
    assert read_spec(write_spec(tmp_path / "scene.json", spec)) == spec
    outline = outline_spec(spec)
    assert outline.hours == pytest.approx(0.05) and outline.split == "train" and len(outline.events) == 20


BREAKS: dict[str, tuple[object, str]] = {
    "version": (2, "version is 2; this gatesearch reads version 1"),
    "split": ("testing", "split: Input should be 'train', 'validation' or 'test'"),
    "seed": (-1, "seed: Input should be greater than or equal to 0"),
    "samples": (0, "samples: Input should be greater than or equal to 1"),
    "segments": ([{"kind": "", "start": 0, "samples": 1}], "segments.0.kind: String should have at least 1"),
    "sample_rate": (float("nan"), "sample_rate: Input should be"),
    "clips": ([], "sources.words: its digest is not that of its clips"),
    "sources": ([], "clips.0: its source 'words' is not among none"),
    "extra": (1, "extra: Extra inputs are not permitted"),
    "pieces": (
        [{"clip": 99, "clip_start": 0, "start": 0, "samples": 5, "gain": 1.0}],
        "pieces.0: clip 99 is none of the",
    ),
    "events": (
        [{"label": "yes", "start": 0, "samples": 10**6, "clip": 0}],
        "events.0: ends at sample 1000000 of its clip",
    ),
}


@pytest.mark.parametrize("key", BREAKS)
def test_a_damaged_file_gives_an_error_of_one_line(key: str, tmp_path: Path) -> None:
    tree = json.loads(render_spec(draw_sound(short_settings(), make_sources())))
    value, message = BREAKS[key]
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(tree | {key: value}))
    with pytest.raises(UserError) as caught:
        read_spec(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_a_file_that_lasts_for_years_gives_an_error_of_one_line(tmp_path: Path) -> None:
    tree = json.loads(render_spec(draw_sound(short_settings(), make_sources())))
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(tree | {"samples": 2**40}))
    with pytest.raises(UserError, match=r"samples: 3.05e\+05 hours; a scene has up to 24"):
        read_spec(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "no", "[" * 100_000, "\xff"])
def test_a_file_that_is_no_specification_gives_an_error_of_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"scene\.json: no "):
        read_spec(path)
    with pytest.raises(UserError, match="no such file"):
        read_spec(tmp_path / "absent.json")
