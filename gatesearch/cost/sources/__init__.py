"""Where the price of a block comes from: this host, a board's table, the NPU's compiler."""
