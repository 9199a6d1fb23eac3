"""KWT: the keyword transformer (Berg, O'Connor and Cruz 2021, arXiv 2104.00769) in small sizes.

The default size is small enough to train on a few thousand clips.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NORMS = ("pre", "post")


class Attention(nn.Module):
    """Multi-head self-attention, written as plain products, which every exporter supports.

    Args:
        width: width of a token.
        heads: number of heads, which share the width evenly.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.split = (heads, width // heads)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [N, T, width] to [N, T, width]."""
        query, key, value = (
            project(tokens).unflatten(2, self.split).transpose(1, 2) for project in (self.query, self.key, self.value)
        )  # each [N, heads, T, width / heads]
        # The query is scaled before the product, so that int8 resolves the scores as finely as it resolves the key.
        scores = (query * self.split[1] ** -0.5) @ key.transpose(2, 3)
        out: Tensor = self.out((torch.softmax(scores, 3) @ value).transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """A transformer block: attention and then a perceptron, each with a residual connection.

    Args:
        width: width of a token.
        heads: number of heads of the attention.
        hidden: width of the perceptron between its two layers.
        norm: ``"post"`` normalises each sum, as in the paper; ``"pre"`` normalises the input of each branch.
        dropout: share of values dropped in each branch.
    """

    def __init__(self, width: int, heads: int, hidden: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.pre = norm == "pre"
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.Sequential(Attention(width, heads), nn.Dropout(dropout))
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width), nn.Dropout(dropout))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [N, T, width] to [N, T, width]."""
        if self.pre:
            tokens = tokens + self.attention(self.norm1(tokens))
            return tokens + self.mlp(self.norm2(tokens))
        tokens = self.norm1(tokens + self.attention(tokens))
        normed: Tensor = self.norm2(tokens + self.mlp(tokens))
        return normed


class Tokens(nn.Module):
    """Maps frames of a front end to tokens: a linear layer over each patch of frames, plus a learned position.

    Args:
        input_shape: (channels, frames, coefficients) of the front end.
        patch: number of frames per token; frames at the end that do not fill a patch are dropped.
        width: width of a token.
        class_token: whether a learned class token is added in front.
    """

    def __init__(self, input_shape: tuple[int, ...], patch: int, width: int, class_token: bool) -> None:
        super().__init__()
        channels, frames, coefficients = input_shape
        self.shape = (channels, frames // patch, patch * coefficients)
        self.frames = self.shape[1] * patch
        self.embed = nn.Linear(channels * self.shape[2], width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        self.position = nn.Parameter(torch.zeros(1, self.shape[1] + class_token, width))
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, channels, frames, coefficients] to tokens [N, T, width]."""
        patches = features[:, :, : self.frames].flatten(2).unflatten(2, self.shape[1:])
        tokens: Tensor = self.embed(patches.transpose(1, 2).flatten(2))
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], 1)
        return tokens + self.position


class Readout(nn.Module):
    """Computes the input of the classifier: the class token, or the mean of all tokens."""

    def __init__(self, class_token: bool) -> None:
        super().__init__()
        self.class_token = class_token

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [N, T, width] to [N, width]."""
        return tokens[:, 0] if self.class_token else tokens.mean(1)


class KWT(nn.Module):
    """Keyword transformer: patches of frames as tokens, encoder blocks, and a linear classifier.

    The paper's KWT-1 has 12 blocks of width 64 with 1 head and a perceptron of 256, over 98 frames of 40 coefficients.
    It was trained on 85,000 clips. The network has no batch normalisation.

    Args:
        num_classes: size of the output.
        input_shape: (channels, frames, coefficients) of the front end.
        width: width of a token.
        blocks: number of encoder blocks.
        heads: number of heads of each attention, which share the width evenly.
        mlp_ratio: width of the perceptron, divided by the width of a token.
        patch: number of frames per token.
        norm: ``"post"`` as in the paper, or ``"pre"``.
        class_token: whether the classifier reads a class token, as in the paper; if not, it reads the mean of the
            tokens.
        dropout: share of values dropped in each branch.

    Raises:
        ValueError: an argument is not valid, or does not fit the others.

    >>> KWT(12, width=32, blocks=2)(torch.zeros(2, 1, 49, 10)).shape
    torch.Size([2, 12])
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, ...] = (1, 49, 10),
        width: int = 64,
        blocks: int = 4,
        heads: int = 4,
        mlp_ratio: float = 2.0,
        patch: int = 1,
        norm: str = "pre",
        class_token: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise ValueError(f"input_shape must be (channels, frames, coefficients), not {tuple(input_shape)}")
        if heads < 1 or width % heads:
            raise ValueError(f"width {width} does not divide among {heads} heads")
        if not 1 <= patch <= input_shape[1]:
            raise ValueError(f"patch must be 1 to {input_shape[1]} frames, not {patch}")
        if norm not in NORMS:
            raise ValueError(f"norm must be {' or '.join(NORMS)}, not {norm!r}")
        self.tokens = Tokens(input_shape, patch, width, class_token)
        hidden = max(1, round(mlp_ratio * width))
        self.blocks = nn.Sequential(*(Block(width, heads, hidden, norm, dropout) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
        self.readout = Readout(class_token)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, channels, frames, coefficients] to logits [N, num_classes]."""
        logits: Tensor = self.classifier(self.readout(self.norm(self.blocks(self.tokens(features)))))
        return logits
