"""The traced network: sites, multiply-accumulates, channel axes."""
