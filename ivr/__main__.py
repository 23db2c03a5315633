"""`python -m ivr` and the `ivr` script."""

import sys

from ivr import cli


def main() -> int:
    """Run the command line; the exit code, which training keeps to the very end of its process."""
    code = cli.main()
    if ending := sys.modules.get("ivr.training.launch.ending"):
        ending.ends_with(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
