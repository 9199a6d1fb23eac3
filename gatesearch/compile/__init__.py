"""From a gated model to programs for cores: passes over the graph, then TFLite and Vela."""
