"""A technique outside gatesearch: a linear layer that leaves out its small inputs, with a kernel in C."""
