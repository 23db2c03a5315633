"""The report of a fault of this program: a file with the traceback, for whoever can mend it."""

import contextlib
import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

from ivr.artifacts import ArtifactPaths
from ivr.console import redact
from ivr.disk.writer import write_text


def write_report(error: BaseException, stage: str, root: Path) -> Path | None:
    """Write what happened below `root`, or among the temporary files where that cannot be; None where neither can."""
    name = f"{stage}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    text = report_text(error)
    if root.is_dir():
        with contextlib.suppress(OSError):
            write_text(ArtifactPaths(root).crash / name, text)
            return ArtifactPaths(root).crash / name
    with contextlib.suppress(OSError):
        # a new folder with a random name, for this user alone: others write among the temporary files, too
        folder = Path(tempfile.mkdtemp(prefix="gpt2-ivr-crash-"))
        write_text(folder / name, text)
        return folder / name
    return None


def report_text(error: BaseException) -> str:
    """Versions, the command line and the traceback; secrets are left out."""
    from ivr.manifest import git_commit, package_versions

    versions = ", ".join(f"{package} {version}" for package, version in package_versions().items())
    lines = [
        f"command   {' '.join(sys.argv)}",
        f"versions  {versions}",
        f"commit    {git_commit() or 'unknown'}",
        f"machine   {platform.platform()}",
        "",
        "".join(traceback.format_exception(error)),
    ]
    return redact("\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8"))
