"""Texts for synthetic speech: words that sound like a wake word, and sentences that contain no wake word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

# Words that differ from a word of Speech Commands by a sound or two. None of them sounds exactly like the word: such a
# word would be the event itself under another label.
NEAR_WORDS: Mapping[str, tuple[str, ...]] = {
    "yes": ("yet", "guess", "less", "yesterday"),
    "no": ("snow", "low", "nose", "note"),
    "up": ("cup", "pup", "app", "us"),
    "down": ("town", "brown", "dawn", "dozen"),
    "left": ("lift", "loft", "laughed", "let"),
    "right": ("ride", "ripe", "light", "rate"),
    "on": ("an", "own", "den", "wand"),
    "off": ("cough", "soft", "oven", "awful"),
    "stop": ("shop", "top", "step", "stock"),
    "go": ("goat", "glow", "ago", "grow"),
}

SUBJECTS = (
    "my neighbour", "the old doctor", "our teacher", "a young man", "the driver", "everybody here", "your sister",
    "the night train", "that little dog", "the whole family", "somebody outside", "the weather report",
)  # fmt: skip
VERBS = (
    "will bring", "cannot remember", "has always liked", "wants to change", "is looking for", "never mentioned",
    "talks about", "would rather have", "keeps asking for", "is afraid of", "has just sold", "must have heard",
)  # fmt: skip
OBJECTS = (
    "the green umbrella", "a cheap ticket", "fresh bread and butter", "the garden behind the house", "another story",
    "some hot tea with milk", "the last chapter", "a quiet evening", "these difficult numbers", "the broken window",
    "a large glass of water", "music from the radio",
)  # fmt: skip


VOWELS = "aeiouy"
ONSETS = ("m", "t", "l", "b", "f")  # sounds that replace the first sound of a word
VOWEL_SWAPS: Mapping[str, str] = {"a": "o", "e": "a", "i": "u", "o": "i", "u": "e", "y": "o"}


def find_near_words(events: Sequence[str]) -> tuple[str, ...]:
    """Return words and phrases that sound like one of the events but are not events.

    For a word in ``NEAR_WORDS``, these are the listed words. For any other word or phrase, they are invented.

    >>> find_near_words(["go"])
    ('goat', 'glow', 'ago', 'grow')
    >>> find_near_words(["hey robin"])[:4]
    ('hey', 'robin', 'mey robin', 'hey mobin')
    """
    words = [
        near
        for event in events
        for near in NEAR_WORDS.get(event.casefold(), make_near_phrases(event.casefold().replace("_", " ")))
    ]
    names = {event.casefold().replace("_", " ") for event in events}
    return tuple(word for word in dict.fromkeys(words) if word not in names)


def make_near_phrases(phrase: str) -> tuple[str, ...]:
    """Return phrases that differ from a phrase by one sound or one word; a detector confuses these most easily.

    For a phrase of several words, the result holds each word alone. It also holds the phrase with a changed word, which
    has another first sound or another first vowel. eSpeak NG pronounces an invented word by the rules of the voice's
    language.

    >>> make_near_phrases("robin")
    ('mobin', 'tobin', 'ribin')
    >>> make_near_phrases("7")
    ()
    """
    words = phrase.split()
    variants = [changed for count in range(3) for changed in _change_words(words, count)]
    alone = words if len(words) > 1 else []
    return tuple(dict.fromkeys([*alone, *variants]))


def _change_words(words: Sequence[str], change: int) -> list[str]:
    """Return the phrase once for each word that has a vowel, with that word changed.

    ``change`` selects the change: 0 or 1 for another first sound, 2 for another first vowel.
    """
    phrases = []
    for place, word in enumerate(words):
        first = next((k for k, letter in enumerate(word) if letter in VOWELS), None)
        if first is None:
            continue
        onsets = [onset for onset in ONSETS if onset != word[:first]]
        swapped = word[:first] + VOWEL_SWAPS[word[first]] + word[first + 1 :]
        near = (onsets[0] + word[first:], onsets[1] + word[first:], swapped)[change]
        phrases.append(" ".join([*words[:place], near, *words[place + 1 :]]))
    return phrases


def draw_sentence(rng: np.random.Generator, events: Sequence[str]) -> str:
    """Return a random sentence that contains none of the events as a word.

    >>> sentence = draw_sentence(np.random.default_rng(0), ["no"])
    >>> len(sentence.split()) >= 4
    True
    """
    event_words = {event.casefold() for event in events}
    parts = []
    for choices in (SUBJECTS, VERBS, OBJECTS):
        allowed = [text for text in choices if not _holds(text, event_words)]
        parts.append(str(rng.choice(allowed)) if allowed else "")
    return " ".join(part for part in parts if part) or "something else"


def _holds(text: str, event_words: set[str]) -> bool:
    return any(f" {word} " in f" {text} " for word in event_words)
