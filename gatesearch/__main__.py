"""Runs the command line for ``python -m gatesearch``."""

import sys

from gatesearch.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
