"""The life of a battery at a mean power."""

from __future__ import annotations

from gatesearch.recipe.schema.choice import Battery

HOURS_PER_DAY = 24.0


def battery_days(battery: Battery, power_mw: float) -> float | None:
    """Return the days for which a battery lasts at a mean power; None if the power is 0.

    >>> round(battery_days(Battery(mah=220.0, volts=3.0, efficiency=0.8), 1.1), 1)
    20.0
    """
    energy_mwh = battery.mah * battery.volts * battery.efficiency
    return energy_mwh / power_mw / HOURS_PER_DAY if power_mw > 0 else None
