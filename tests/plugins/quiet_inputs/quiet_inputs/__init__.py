"""An example plug-in: a gate that skips small inputs of a linear layer, with a kernel in C."""
