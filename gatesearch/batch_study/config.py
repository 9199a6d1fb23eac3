"""The parameters that a batch-size study tunes for each batch size: learning rate, momentum and decay."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """One way to train with Nesterov momentum and a learning rate that falls linearly.

    Args:
        rate: effective learning rate, which is the learning rate divided by 1 - momentum.
        slack: 1 - momentum.
        decay: share of the step budget over which the rate falls.
        end: the rate after the fall, as a share of the first rate.
    """

    rate: float
    slack: float
    decay: float
    end: float

    @property
    def momentum(self) -> float:
        """The momentum of the training."""
        return 1.0 - self.slack

    def learning_rate(self, step: int, budget: int) -> float:
        """Return the learning rate at a step (counted from 0) of a training of ``budget`` steps.

        >>> config = Config(rate=1.0, slack=0.1, decay=0.5, end=0.1)
        >>> [round(config.learning_rate(step, 100), 3) for step in (0, 25, 50, 99)]
        [0.1, 0.055, 0.01, 0.01]
        """
        fall = min(1.0, step / max(1.0, self.decay * budget))
        return self.rate * self.slack * (1.0 + (self.end - 1.0) * fall)
