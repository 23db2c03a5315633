"""One process at a time in a directory, on every file system and over many machines.

Two things are held. A `flock` on the lock file goes with its process, however that ends, but some file systems have
none (Lustre without -o flock) and some keep it to one machine (-o localflock). So the holder also has a record beside
it, `.lock.held`, made by a create that only one can win on any file system; it says who holds, and a thread touches it
while the process lives. Who finds a record looks whether its holder lives: by /proc on the same machine, elsewhere by
whether the record is touched any more. A record of the dead is taken over.
"""

import contextlib
import errno
import fcntl
import glob
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ivr.console import LOG
from ivr.errors import CorruptInputError, TryAgainError
from ivr.schema import read_record

BEAT_SECONDS = 5.0
SILENT_SECONDS = 40.0  # a holder on another machine that has not touched its record for so long is dead
NO_FLOCK = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EREMOTEIO})


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. boot_id, namespace and started tell a process from a later one of the same number."""

    what: str
    host: str
    pid: int
    job: str
    since: str
    boot_id: str
    namespace: str
    started: str
    token: str

    def __str__(self) -> str:
        job = f", Slurm job {self.job}" if self.job else ""
        return f"`ivr {self.what}`, process {self.pid} on {self.host}{job}, since {self.since}"


def this_process(what: str) -> Holder:
    """The record of this process."""
    return Holder(
        what=what,
        host=socket.gethostname(),
        pid=os.getpid(),
        job=os.environ.get("SLURM_JOB_ID", ""),
        since=time.strftime("%Y-%m-%d %H:%M:%S"),
        boot_id=_boot_id(),
        namespace=_namespace(),
        started=_started(os.getpid()),
        token=secrets.token_hex(8),
    )


@contextlib.contextmanager
def directory_lock(path: Path, what: str, shared: bool = False, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock `path`. Raises TryAgainError, naming the holder, when it is taken.

    shared: beside others that share it, too. what: the stage, for the message that others get. patience: seconds to
    wait for a holder to end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + patience
    with path.open("a+", encoding="utf-8") as stream:
        me = this_process(what)
        while True:
            try:
                has_flock = _flock(stream.fileno(), path, shared)
                record = _claim(path, me, shared, has_flock)
                break
            except TryAgainError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.1)
        try:
            with _heartbeat(record, me):
                yield
        finally:
            _release(record, me)


def _flock(descriptor: int, path: Path, shared: bool) -> bool:
    """Whether the file system has file locks; then this one is held. Raises TryAgainError where another has it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            holders = [holder for record in _records(path) if (holder := _read(record)) is not None]
            raise TryAgainError(_taken(path, holders[0] if holders else None)) from None
        if error.errno not in NO_FLOCK:
            raise
        LOG.debug("%s: no file locks here (%s); its record alone holds it", path, os.strerror(error.errno))
        return False
    return True


def _claim(path: Path, me: Holder, shared: bool, has_flock: bool) -> Path:
    """Put this process's record beside `path`; raises TryAgainError where one of a living holder is in the way."""
    own = path.with_name(f"{path.name}.held{f'-{me.token}' if shared else ''}")
    while True:
        in_the_way = [record for record in _records(path) if record != own and not (shared and _is_shared(record))]
        try:
            _create(own, me)
        except FileExistsError:
            in_the_way.append(own)
        try:
            for record in in_the_way:
                _take_over(path, record, me, has_flock)
        except BaseException:
            _release(own, me)
            raise
        if own not in in_the_way:
            # one that came between the look and the create sees ours, as we see it now
            return own if not _rivals(path, own, me, shared, has_flock) else _step_back(path, own, me)


def _rivals(path: Path, own: Path, me: Holder, shared: bool, has_flock: bool) -> list[Path]:
    others = [record for record in _records(path) if record != own and not (shared and _is_shared(record))]
    return [record for record in others if _lives(record, me, has_flock)]


def _step_back(path: Path, own: Path, me: Holder) -> Path:
    _release(own, me)
    raise TryAgainError(_taken(path, None))


def _create(record: Path, me: Holder) -> None:
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(descriptor, json.dumps(asdict(me)).encode())
    except OSError:
        record.unlink()  # a full disk; an empty record would hold the directory for nobody
        raise
    finally:
        os.close(descriptor)


def _take_over(path: Path, record: Path, me: Holder, has_flock: bool) -> None:
    """Remove the record of a dead holder. Raises TryAgainError where the holder lives."""
    holder = _read(record)
    if _lives(record, me, has_flock):
        raise TryAgainError(_taken(path, holder))
    aside = record.with_name(f".{record.name}.ivr-{me.pid}")
    try:
        record.rename(aside)  # of several that would take it over, one succeeds
    except FileNotFoundError:
        return
    moved = _read(aside)
    if moved != holder:  # somebody else had taken it over in between: it is theirs
        with contextlib.suppress(OSError):
            os.link(aside, record)
        aside.unlink(missing_ok=True)
        raise TryAgainError(_taken(path, moved))
    aside.unlink(missing_ok=True)
    if holder is not None:
        LOG.info("%s: %s has ended without giving it back; taken over", path, holder)


def _lives(record: Path, me: Holder, has_flock: bool) -> bool:
    """Whether the holder of a record is at work. Takes up to SILENT_SECONDS where only silence can tell."""
    holder = _read(record)
    if holder is not None and holder.boot_id == me.boot_id:
        if has_flock:
            return False  # one kernel: its flock would have been in the way
        if holder.namespace == me.namespace:
            return holder.started != "" and _started(holder.pid) == holder.started
    first = _touched(record)
    while (last := _touched(record)) is not None and _age(record, last, me) < SILENT_SECONDS:
        if last != first:
            return True
        time.sleep(min(1.0, BEAT_SECONDS / 5))
    return False


def _age(record: Path, touched: float, me: Holder) -> float:
    """Seconds since a record was touched, by the clock of its file server alone."""
    probe = record.with_name(f".{record.name}.ivr-{me.pid}")
    try:
        probe.touch()
        return probe.stat().st_mtime - touched
    except FileNotFoundError:  # the holder of another lock in here has tidied up
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _touched(record: Path) -> float | None:
    try:
        with record.open("rb") as stream:  # NFS asks its server anew when a file is opened
            return os.fstat(stream.fileno()).st_mtime
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _heartbeat(record: Path, me: Holder) -> Iterator[None]:
    """Touch the record while the block lasts."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_SECONDS):
            try:
                if _read(record) != me:
                    LOG.warning("%s is no longer this process's: something else may be at work in there", record)
                    return
                os.utime(record)
            except OSError as error:
                LOG.debug("%s cannot be touched: %s", record, error)

    thread = threading.Thread(target=beat, name="lock-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _release(record: Path, me: Holder) -> None:
    with contextlib.suppress(OSError):
        if _read(record) == me:
            record.unlink()


def _records(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.held*"))


def _is_shared(record: Path) -> bool:
    return ".held-" in record.name


def _read(record: Path) -> Holder | None:
    """None where there is none, or none that can be read: one that is being written, or that a full disk cut short."""
    try:
        return read_record(record, Holder, "")
    except (OSError, CorruptInputError):
        return None


def _taken(path: Path, holder: Holder | None) -> str:
    return f"{path.parent} is in use by {holder or 'another process'}; try again when it has ended"


def _boot_id() -> str:
    """Of the running kernel; a machine's name alone may be another's too, or this one's before it was started anew."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def _namespace() -> str:
    """Of process numbers: in a container they mean other processes."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process was started, in the kernel's ticks; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before may hold blanks
    return "" if fields[0] in ("Z", "X") else fields[19]
