"""Chooses the sources of scenes for a typed phrase, a folder of words, or a speech data set.

A scene is a labelled stream. A source is an origin of the clips in scenes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch.data import folders
from gatesearch.data.scenes.phrases import find_near_words
from gatesearch.data.scenes.sources import KINDS
from gatesearch.errors import UserError, unknown

PHRASE_UTTERANCES = 1200  # number of utterances of a typed phrase in the training split


def speech_sources(
    root: str | None, positives: Sequence[str], negatives: Mapping[str, Sequence[str]], seed: int = 0
) -> list[dict[str, Any]]:
    """Return sources in the form of a scene's settings.

    The events are the positives, and the backgrounds are the folders of the negatives.

    Args:
        root: folder of the recordings; None for synthetic speech.
        positives: words to wake for.
        negatives: for each negative class, its folders; folders of silence become noise, and all others become speech.
        seed: the seed of synthetic sources.

    >>> [source["kind"] for source in speech_sources(None, ["yes"], {"_unknown_": ["*"]})]
    ['synthetic_speech', 'synthetic_noise']
    >>> speech_sources("words", ["yes"], {"_silence_": ["_silence_"], "_unknown_": ["*"]})[0]["backgrounds"]
    {'speech': ['*'], 'noise': ['_silence_']}
    """
    if root is None:
        return [
            {"kind": "synthetic_speech", "events": list(positives), "seed": seed},
            {"kind": "synthetic_noise", "seed": seed},
        ]
    names = list(dict.fromkeys(folder for own in negatives.values() for folder in own))
    backgrounds = {
        "speech": [name for name in names if name not in folders.BACKGROUND_FOLDERS],
        "noise": [name for name in names if name in folders.BACKGROUND_FOLDERS],
    }
    return [
        {
            "kind": "folders",
            "root": root,
            "events": list(positives),
            "backgrounds": {kind: own for kind, own in backgrounds.items() if own},
        },
        {"kind": "synthetic_noise", "backgrounds": ["quiet", "music"], "seed": seed},
    ]


def wake_word_sources(
    sources: Sequence[Mapping[str, Any]] | None,
    *,
    phrase: str | Sequence[str] | None = None,
    root: str | None = None,
    positives: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Mapping[str, Any]] | None:
    """Return the sources of clips for a wake word: ``sources`` itself, or sources for a typed phrase or a folder.

    Args:
        sources: the sources as settings list them; a phrase or a folder replaces them.
        phrase: one or several phrases that eSpeak NG speaks in many voices; phrases that sound alike become negatives.
        root: folder with one folder of WAV files for each word; words that are not positives become other speech.
        positives: folders of the words to wake for; None for the events of ``sources``, or the only folder.
        seed: the seed of synthetic sources.

    Raises:
        UserError: both a phrase and a folder are named, a phrase is empty or the name of a kind of background, or
            a word has no folder.

    >>> [source["kind"] for source in wake_word_sources(None, phrase="hey robin")]
    ['synthetic_speech', 'synthetic_noise']
    """
    if phrase is not None and root is not None:
        raise UserError(
            "data.phrase: a typed phrase has no recordings, and data.root names some; leave one of them out"
        )
    if positives is not None and root is None:
        raise UserError("data.positives: names folders under data.root, and there is none; use instead: data.phrase")
    if phrase is not None:
        phrases = [phrase] if isinstance(phrase, str) else list(phrase)
        if not phrases or not all(isinstance(each, str) and each.strip() for each in phrases):
            raise UserError(f"data.phrase: {phrase!r}; wanted: a phrase to speak, or a list of phrases")
        for each in phrases:
            if each.strip().casefold().replace(" ", "_") in KINDS:
                raise UserError(f"data.phrase: {each!r} is also a kind of background; add a word: 'hey {each.strip()}'")
        speech = {"kind": "synthetic_speech", "events": phrases, "utterances": PHRASE_UTTERANCES, "seed": seed}
        return [speech, {"kind": "synthetic_noise", "seed": seed}]
    if root is None:
        return None if sources is None else list(sources)
    names = list(folders.scan(root).files)
    words = [name for name in names if name not in folders.BACKGROUND_FOLDERS]
    listed = [word for source in sources or () for word in source.get("events", ())]
    chosen = list(positives) if positives is not None else words if len(words) == 1 else listed
    for word in chosen:
        if word not in words:
            raise unknown("data.positives", "folder", word, words)
    if not chosen:
        raise UserError(f"data.positives: wanted: the words to wake for; folders of {root}: {', '.join(words)}")
    others = [word for word in words if word not in chosen]
    silence = [name for name in folders.BACKGROUND_FOLDERS if name in names]
    own_sources = speech_sources(root, chosen, {"_unknown_": others, "_silence_": silence}, seed)
    if not silence:
        own_sources[-1] = {"kind": "synthetic_noise", "seed": seed}  # all kinds of noise
    if not others:  # synthetic sentences and near words take the place of other speech
        own_sources.append({"kind": "synthetic_speech", "near_words": list(find_near_words(chosen)), "seed": seed})
    return list(own_sources)
