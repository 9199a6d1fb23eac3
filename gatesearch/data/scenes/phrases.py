"""Texts for synthetic speech: words that sound like a wake word, and sentences without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

# Words that differ from a word of Speech Commands by a sound or two. None of them sounds the same as the word, because
# it would be the event itself under another label.
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


def find_near_words(events: Sequence[str]) -> tuple[str, ...]:
    """Return the listed words that sound like one of the events and are not events themselves.

    >>> find_near_words(["go", "hey robin"])
    ('goat', 'glow', 'ago', 'grow')
    """
    words = [near for event in events for near in NEAR_WORDS.get(event.casefold(), ())]
    return tuple(word for word in dict.fromkeys(words) if word not in events)


def draw_sentence(rng: np.random.Generator, events: Sequence[str]) -> str:
    """Return a random sentence that holds none of the events as a word.

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
