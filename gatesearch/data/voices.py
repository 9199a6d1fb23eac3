"""Voices, accents and words of the synthetic speech; no voice and no accent is in two splits.

The voices are the variants of eSpeak NG 1.52, without robots, whispers and monsters. Variants of one name (``iven``,
``iven2``) are near copies and stay in one split.
"""

from __future__ import annotations

from collections.abc import Mapping

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "train": (
        "Alex", "Alicia", "Andrea", "Denis", "Gene", "Gene2", "Henrique", "Hugo", "Jacky", "Marco", "Mike",
        "mike2", "Mr serious", "Nguyen", "Reed", "Storm", "anika", "announcer", "antonio", "benjamin",
        "caleb", "david", "ed", "edward", "edward2", "f2", "f3", "f5", "grandma", "ian", "john", "klatt",
        "klatt2", "klatt3", "klatt4", "klatt5", "klatt6", "m2", "m3", "m5", "m6", "m7", "michel", "miguel",
        "paul", "pedro", "rob", "robert", "sandro", "travis",
    ),
    "validation": (
        "Andy", "Mario", "adam", "belinda", "f1", "grandpa", "linda", "m1", "m8", "marcelo", "norbert",
        "quincy", "zac",
    ),
    "test": (
        "Annie", "Diogo", "Lee", "Michael", "aunty", "boris", "f4", "gustave", "iven", "iven2", "iven3",
        "iven4", "m4", "max", "pablo", "shelby", "steph", "steph2", "steph3", "victor",
    ),
}  # fmt: skip

ACCENTS: Mapping[str, tuple[str, ...]] = {
    "train": ("en-us", "en-gb-scotland", "en-029", "en-gb-x-gbcwmd"),
    "validation": ("en", "en-gb-x-gbclan"),
    "test": ("en-gb-x-rp", "en-us-nyc"),
}

# The words of Speech Commands (Warden 2018). "*" draws from the words that are no class of the data set. A word of
# ONLY_IN is in one split alone, so that the test split has unknown words that training did not have.
WORDS = (
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "bed", "bird", "dog", "eight",
    "five", "four", "happy", "house", "nine", "one", "seven", "sheila", "three", "two", "zero", "forward",
    "learn",
)  # fmt: skip
ONLY_IN: Mapping[str, tuple[str, ...]] = {
    "train": (),
    "validation": ("cat", "wow", "six", "follow"),
    "test": ("tree", "marvin", "backward", "visual"),
}
