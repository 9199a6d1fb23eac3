"""Writes the names of classes as C: strings of any text, and macros that never collide."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PLAIN = re.compile(rb"[A-Za-z0-9 _.,+=/()-]")  # characters that a C string holds as they are


def string(text: str) -> str:
    r"""Return a C string constant with the UTF-8 bytes of any text.

    Other characters are octal numbers of three digits, because a longer number, or a question mark that begins a
    trigraph, would read the characters behind it.

    >>> print(string('say "hi"'), string("a\nb"), string("über?"))
    "say \042hi\042" "a\012b" "\303\274ber\077"
    """
    encoded = text.encode("utf-8", "surrogatepass")
    units = (bytes([byte]) for byte in encoded)
    return '"' + "".join(u.decode() if _PLAIN.match(u) else f"\\{u[0]:03o}" for u in units) + '"'


def macro_names(classes: Sequence[str]) -> list[str]:
    """Return the end of each class's macro: its name in capitals, and its index where another class has this name.

    >>> macro_names(["stop", "near word", "near_word"])
    ['STOP', 'NEAR_WORD_1', 'NEAR_WORD_2']
    >>> macro_names(["a b", "a_b", "A_B_0"])
    ['A_B_0_0', 'A_B_1', 'A_B_0_2']
    """
    names = [re.sub("[^A-Z0-9]", "_", name.upper()) for name in classes]
    while len(set(names)) < len(names):
        names = [f"{name}_{k}" if names.count(name) > 1 else name for k, name in enumerate(names)]
    return names
