"""Tests of near phrases, which sound like a phrase: they differ from it, and each phrase with a vowel has some."""

from hypothesis import given
from hypothesis import strategies as st

from gatesearch.data.scenes.phrases import find_near_words, make_near_phrases

WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9)


@given(words=st.lists(WORDS, min_size=1, max_size=4))
def test_near_phrases_differ_from_the_phrase_and_from_each_other(words):
    phrase = " ".join(words)
    near = make_near_phrases(phrase)
    assert phrase not in near
    assert len(set(near)) == len(near)
    assert near or (len(words) == 1 and not set(phrase) & set("aeiouy"))


@given(words=st.lists(WORDS, min_size=2, max_size=4, unique=True))
def test_a_phrase_gives_each_of_its_words_alone(words):
    assert set(words) <= set(make_near_phrases(" ".join(words)))


@given(events=st.lists(st.one_of(WORDS, st.sampled_from(["stop", "Go", "hey_robin"])), min_size=1, max_size=3))
def test_no_event_is_a_near_word_of_another(events):
    names = {event.casefold().replace("_", " ") for event in events}
    assert not names & set(find_near_words(events))
