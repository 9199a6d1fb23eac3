"""One network with a gate at every site, trained once: whatever plan of a space is then read in under a second.

After slimmable and once-for-all networks: the sandwich rule and the distillation from the whole network are those of
Yu and Huang 2019 (arXiv 1903.05134, sections 3.1 and 3.3), the statistics of normalisations are taken anew for each
plan as there (section 3.2). What is shared is the backbone's weights and, at each site, a gate: channel masks are
ordered, so that one training serves every keep ratio.
"""

from __future__ import annotations

from gatesearch.search.space import Space
from gatesearch.search.supernet.elastic import ELASTIC


def cannot_express(space: Space, goal: str) -> str | None:
    """Return why a supernet cannot hold the plans of a space, in a few words; None where it can.

    >>> cannot_express(Space((), {"dsl": {}}, ("mcu",), 0, 0), "reconstruction")
    'it learns from class probabilities, and the goal is reconstruction'
    """
    if goal != "classification":
        return f"it learns from class probabilities, and the goal is {goal}"
    stiff = [kind for kind in space.kinds if kind not in ELASTIC]
    stiff += [kind for kind in space.layers.kinds if space.layers.sites]
    if stiff:
        return f"gates of kind {', '.join(stiff)} have weights of their own for each choice"
    return None if space.sites else "there is no site where a gate may go"
