"""Device profiles: cores, links and constants, each with its provenance."""
