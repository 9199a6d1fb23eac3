"""Derives the sources of scenes from a speech data set, so that a recipe need not name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch.data import folders


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
