"""``python -m gatesearch``: the command line."""

import sys

from gatesearch.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
