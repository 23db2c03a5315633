"""The errors a user can cause, each with its exit code.

0 success, 1 a comparison found differences, 2 usage or configuration, 3 stale or missing input of an earlier stage,
4 corrupt input, 5 cluster, 75 try again (EX_TEMPFAIL; a requeue asks for it), 130 interrupted.

A message names the path, the value and the next command. Impossible states are `assert`s, not these.
"""


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


class TryAgainError(IvrError):
    """Nothing is wrong that time does not mend: a held lock, a preempted job."""

    exit_code = 75
