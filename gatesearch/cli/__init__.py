"""The command line ``gatesearch``: its commands, their arguments, and the tables that they print."""
