"""The interpreter runs the packages that were installed with it, whatever a shell's environment adds to its path.

`module load` of a cluster sets PYTHONPATH, and its torch or numpy would come before ours. A process that was started
under such variables begins again without them; one started with `python -I` has not read them, and only keeps them from
the processes that it starts itself. Imports nothing but what every interpreter has loaded already.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# where modules come from, whether assertions hold, whether a prompt opens at the end
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "PYTHONOPTIMIZE", "PYTHONINSPECT")
# the first has no effect on a program; the others are of numba's own threads, which nothing here uses, and with a
# number that it does not like numba fails while it is imported
FOREIGN_QUIET = ("PYTHONSTARTUP", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER")


def without_foreign(environment: Mapping[str, str], package_root: str = "") -> dict[str, str]:
    """The environment without variables that would bring in other code.

    package_root: the folder this package was found in; if PYTHONPATH is what named it, that one entry stays.

    >>> without_foreign({"PYTHONPATH": "/apps/torch:/me/checkout", "HOME": "/me"}, "/me/checkout")
    {'HOME': '/me', 'PYTHONPATH': '/me/checkout'}
    """
    kept = {name: text for name, text in environment.items() if name not in (*FOREIGN, *FOREIGN_QUIET)}
    if package_root and package_root in environment.get("PYTHONPATH", "").split(os.pathsep):
        kept["PYTHONPATH"] = package_root
    return kept


def keep_to_own_packages(program: Sequence[str] | None = None) -> None:
    """Begin this process again without foreign variables where it has read some; else drop them for its children.

    program: the command that started it (default: of this process, where it is `ivr` or `python -m ivr`).
    """
    clean = without_foreign(os.environ, str(Path(__file__).parents[2]))
    changed = [name for name in FOREIGN if os.environ.get(name, "") != clean.get(name, "")]
    if changed and not sys.flags.ignore_environment:
        command = _own_command() if program is None else list(program)
        if command:
            clean["IVR_LEFT_OUT"] = " ".join(changed)  # for a word in the log of the one that follows
            os.execve(command[0], command, clean)  # noqa: S606 - our own command line, as it came
        return  # in somebody else's process (a test): its path is its own matter
    for name in {*FOREIGN, *FOREIGN_QUIET} & set(os.environ):
        if name not in clean:
            del os.environ[name]


def _own_command() -> list[str]:
    """The words that started this process; none where it is not this program's own."""
    started = sys.argv[0] if sys.argv else ""
    if Path(started).name != "ivr" and Path(started) != Path(__file__).parents[1] / "__main__.py":
        return []
    return [sys.executable, *sys.orig_argv[1:]]
