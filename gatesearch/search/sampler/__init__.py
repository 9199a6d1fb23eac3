"""GateSampler: which plan to try next."""
