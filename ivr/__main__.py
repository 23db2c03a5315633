"""`python -m ivr` and the `ivr` script."""

import sys

from ivr.machine import interpreter


def main() -> int:
    """Run the command line; the exit code, which training keeps to the very end of its process."""
    interpreter.keep_to_own_packages()
    try:
        from ivr import cli

        code = cli.main()
    except KeyboardInterrupt:  # while this program was still being loaded, or on its way out
        code = 130
    if ending := sys.modules.get("ivr.training.launch.ending"):
        ending.ends_with(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
