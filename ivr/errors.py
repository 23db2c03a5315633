"""The errors a user can cause, and the exit codes: those of this file, and of sysexits.h where one says it better.

A message names the path, the value and the next command. Impossible states are `assert`s, not these; what nobody
foresaw ends with FAULT (ivr.machine.crash), what the machine refuses with a code of its own (ivr.machine.failures).
"""

EXIT_CODES = {
    0: "done",
    1: "`verify` found a difference; nothing else exits with 1",
    2: "usage or configuration",
    3: "an input is stale or missing",
    4: "an input is corrupt",
    5: "the cluster, or the GPUs that were asked for",
    70: "a fault of this program; its report says where",
    71: "the machine gives no more memory, files, processes or locks",
    73: "disk full or quota exceeded",
    74: "disk I/O error",
    75: "another process holds the run, the job was preempted or the network failed: try again",
    77: "no permission, or read-only",
    130: "interrupted",
}
FAULT, EXHAUSTED, FULL, DISK_FAILS, TRY_AGAIN, NO_PERMISSION, INTERRUPTED = 70, 71, 73, 74, 75, 77, 130


class IvrError(Exception):
    """Root of every error this package raises on purpose."""

    exit_code = 2


class DifferenceError(IvrError):
    """The stage did its work and wrote its report; what it was to find equal is not."""

    exit_code = 1


class ConfigError(IvrError):
    """An option, a value or a combination of them cannot work."""


class StaleInputError(IvrError):
    """An input is missing, or is not what the earlier stage recorded."""

    exit_code = 3


class CorruptInputError(IvrError):
    """A file is damaged or is not what its name says."""

    exit_code = 4


class ClusterError(IvrError):
    """The batch system refused, lost or killed a job."""

    exit_code = 5


class DeviceError(IvrError):
    """A GPU was asked for, and there is none that can be used."""

    exit_code = 5


class MachineError(IvrError):
    """The machine refuses what a library asked of it, and this says more than the system's own word: 73, 74, 77."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class TryAgainError(IvrError):
    """Nothing is wrong that time does not mend: a held lock, a preempted job."""

    exit_code = TRY_AGAIN
