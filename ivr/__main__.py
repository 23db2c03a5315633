"""`python -m ivr` and the `ivr` script."""

import sys

from ivr.cli import main

if __name__ == "__main__":
    sys.exit(main())
