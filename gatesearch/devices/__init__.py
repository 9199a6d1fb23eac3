"""Device profiles: cores, links and sensor, with constants that each have a unit and a provenance."""
