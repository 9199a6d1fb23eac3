"""The tasks: sequences with their labels in three splits, and the network that reads them."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.backbones.recurrent import CELLS, RecurrentNet
from gatesearch.data import Dataset, load_dataset
from gatesearch.frontends import build
from results.hmd.protocol import Protocol

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 0  # one split for all seeds, which are of what is random in a training
# Frames of 40 ms without overlap, as Hello Edge's recurrent networks have them: 25 of them in a second.
MFCC = {"coefficients": 10, "window_ms": 40.0, "stride_ms": 40.0, "fft": 1024}
AVERAGE = 4  # steps of an activity that become one
WINDOW = 64  # characters
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHERS = {"_silence_": ["_silence_", "_background_noise_"], "_unknown_": ["*"]}


@dataclass(frozen=True)
class Task:
    """Data and network of one task.

    Args:
        name: key of :data:`results.hmd.rows.TASKS`.
        splits: inputs [N, ...] and labels by split; of a language model the stream of characters [N], twice.
        build: from the units of a recurrent layer and the dropout to the untrained network.
        hidden: units of the dense row, at width 1.
        source: what the data are.
        synthetic: whether they are generated rather than recorded.
    """

    name: str
    splits: Mapping[str, tuple[Tensor, Tensor]]
    build: Callable[[int, float], nn.Module]
    hidden: int
    source: str
    synthetic: bool

    @property
    def is_language(self) -> bool:
        """Whether the next character is what is asked for, at every step."""
        return self.name == "lm"

    @property
    def example(self) -> Tensor:
        """One input."""
        inputs = self.splits["train"][0]
        return inputs[None, :WINDOW] if self.is_language else inputs[:1]


class CharacterModel(nn.Module):
    """Characters [N, T] to logits of the next ones [N, T, vocabulary], by an LSTM from a state of zero.

    Args:
        vocabulary: number of different characters.
        hidden: units.
        embedding: numbers that stand for a character.
        dropout: in front of the linear layer.
    """

    def __init__(self, vocabulary: int, hidden: int, embedding: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.rnn = nn.ModuleList([CELLS["lstm"](embedding, hidden, batch_first=True)])
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, vocabulary)

    def forward(self, characters: Tensor) -> Tensor:
        """Return logits."""
        hidden, _ = self.rnn[0](self.embedding(characters))
        logits: Tensor = self.classifier(self.dropout(hidden))
        return logits


def load(name: str, protocol: Protocol, roots: Mapping[str, str | None]) -> Task:
    """Load a task.

    Args:
        name: key of :data:`results.hmd.rows.TASKS`.
        protocol: sizes of synthetic sets, length of the text.
        roots: ``speech`` and ``har``: where recordings lie; None makes synthetic ones.
    """
    return LOADERS[name](name, protocol, roots)


def _keywords(name: str, protocol: Protocol, roots: Mapping[str, str | None]) -> Task:
    data = load_dataset(
        "speech",
        root=roots.get("speech"),
        positives=list(WORDS),
        negatives=OTHERS,
        seed=SPLIT_SEED,
        clips_per_class=protocol.clips_per_class,
    )
    cell = name.removeprefix("kws_")
    return _build_task(name, data, "mfcc", MFCC, {"cell": cell}, {"lstm": 118, "gru": 154}[cell])


def _activities(name: str, protocol: Protocol, roots: Mapping[str, str | None]) -> Task:
    data = load_dataset("har", root=roots.get("har"), seed=SPLIT_SEED, windows_per_subject=protocol.windows_per_subject)
    return _build_task(name, data, "sequence", {"average": AVERAGE}, {"cell": "lstm", "bidirectional": True}, 64)


def _build_task(
    name: str, data: Dataset, frontend: str, settings: Mapping[str, Any], net: Mapping[str, Any], hidden: int
) -> Task:
    front = build(frontend, **settings).fit(data.train.inputs)
    splits = {}
    for split in SPLITS:
        part = getattr(data, split)
        splits[split] = (torch.cat([front(chunk) for chunk in part.inputs.split(256)]), part.labels)
    shape = tuple(splits["train"][0].shape[1:])

    def build_net(units: int, dropout: float) -> nn.Module:
        return RecurrentNet(num_classes=len(data.classes), input_shape=shape, hidden=units, dropout=dropout, **net)

    return Task(name, splits, build_net, hidden, data.source, data.synthetic)


def _language(name: str, protocol: Protocol, roots: Mapping[str, str | None]) -> Task:
    from pydoc_data.topics import topics

    text = "\n".join(topics[key] for key in sorted(topics))[: protocol.characters]
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    alphabet = sorted(set(text))
    stream = torch.tensor([alphabet.index(c) for c in text])
    tenth = len(stream) // 10
    parts = stream.split([len(stream) - 2 * tenth, tenth, tenth])
    return Task(
        name,
        {split: (part, part) for split, part in zip(SPLITS, parts, strict=True)},
        lambda units, dropout: CharacterModel(len(alphabet), units, dropout=dropout),
        200,
        f"the topics of Python's own help (pydoc_data.topics of {platform.python_version()}, sha256 {digest}): "
        f"{len(text):,} characters, {len(alphabet)} different ones, the last two tenths for validation and test",
        synthetic=False,
    )


LOADERS: Mapping[str, Callable[[str, Protocol, Mapping[str, str | None]], Task]] = {
    "kws_lstm": _keywords,
    "kws_gru": _keywords,
    "har_bilstm": _activities,
    "lm": _language,
}
