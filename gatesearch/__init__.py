"""gatesearch finds where the gates go: search for gated, always-on neural networks under a hardware cost model."""

from __future__ import annotations

__version__ = "0.1.0"
