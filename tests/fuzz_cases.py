"""Hostile files: seeded mutations of good ones, and running a reader over them within bounds of time and memory.

A case copies the good files of a reader into a fresh folder, mutates one of them and reads. Good outcomes are two: it
is accepted, or an error of ours says why not. Anything else is a fault: another exception, no end, memory without
bound, a file half-written, an input altered, anything written outside the folder.
"""

import contextlib
import gzip
import io
import json
import lzma
import os
import pickle
import random
import resource
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.disk.digest import sha256_file
from ivr.errors import IvrError
from ivr.machine.failures import explain
from ivr.report.integrity import leftovers

CPU_SECONDS_A_CASE, SECONDS_A_CASE = 20.0, 120.0
BYTES_A_CASE = 3 << 29
BOMB_BYTES = 1 << 26
NAME_BYTES = 255
HOSTILE_TEXT = [
    *("", " ", "\x00", "\ufeff", "\u202e", "../../outside", "/etc/passwd", "a\nb", "x" * 5000, "=cmd|' /C calc'!A0"),
    *(
        "<script>alert(1)</script>",
        "%s%n",
        "\ud800",
        "1e999",
        "NaN",
        "-0",
        "00",
        "true",
        "null",
        "~",
        "세포",
        "🙂" * 50,
    ),
]
# of YAML, TOML and tables
HOSTILE_WORDS = [
    *("&a [*a]", "*b", "? [a] : b", "!!python/object/apply:os.system [x]", "!!timestamp 2024-13-45", "!!float x"),
    *("!!binary x", "0x1F", "010", "1_000", "12:30:45", "inf", "9" * 400, "9" * 5000, "-9" + "0" * 30, '"', "'", "{"),
    *("- " * 500, "[" * 100_000, "{a: " * 50_000, "2024-13-45", "=1+1"),
]
HOSTILE_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 1.5, 2**31, 2**53 + 1, -(2**63) - 1, 10**30, 10**400, float("nan"), float("inf")),
    *([], {}, [[]], [1], {"a": 1}, {"type": "x"}, [None] * 3, *HOSTILE_TEXT),
]


@dataclass(frozen=True)
class Reader:
    """files: the good ones, by name; read: looks at a folder that holds them; kinds: which mutations beside bytes'."""

    name: str
    files: Mapping[str, bytes]
    read: Callable[[Path], object]
    kinds: tuple[str, ...] = ()
    share: int = 1  # of the cases, against other readers


@dataclass(frozen=True)
class Outcome:
    """verdict: accepted, refused or fault; said: by whom or what; what was done to which file."""

    reader: str
    seed: str
    mutation: str
    verdict: str
    said: str = ""


class HangError(BaseException):
    """The time of a case is up."""


def run_case(reader: Reader, seed: str, folder: Path) -> Outcome:
    """One case below `folder`, which is emptied first."""
    draw = random.Random(f"{reader.name} {seed}")
    shutil.rmtree(folder, ignore_errors=True)
    run, outside = folder / "run", folder / "outside"
    for place in (run, outside):
        place.mkdir(parents=True)
    (outside / "sentinel").write_text("untouched")
    for name, data in reader.files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(data)
    mutation = mutate(run, draw, reader.kinds)
    before, around = _snapshot(run), _around(folder)
    here = Path.cwd()
    os.chdir(run)
    try:
        with bounded():
            reader.read(run)
        verdict, said = "accepted", ""
    except IvrError as error:
        verdict, said = "refused", f"{type(error).__name__}: {error}"
        if error.exit_code not in (2, 3, 4, 75) or not str(error).strip():
            verdict = "fault"
    except OSError as error:
        # the command line says these in a sentence: "Is a directory", "Too many levels of symbolic links"
        verdict = "refused" if error.filename is not None and explain(error, run) is not None else "fault"
        said = f"{type(error).__name__}: {error}" + _where(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        verdict, said = "fault", f"{type(error).__name__}: {error}"[:500] + _where(error)
    finally:
        os.chdir(here)
    after = _snapshot(run)
    altered = [name for name in before if after.get(name) != before[name]]
    if _around(folder) != around:
        verdict, said = "fault", "it wrote outside the folder"
    elif altered:
        verdict, said = "fault", f"it altered {altered[0]}"
    elif leftovers(run):
        verdict, said = "fault", f"it left {leftovers(run)[0].name} behind"
    return Outcome(reader.name, seed, mutation, verdict, said)


def _where(error: BaseException) -> str:
    """The last line of ours that an exception came through."""
    found, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "/ivr/" in code.co_filename:
            found = f" [{code.co_filename.rpartition('/ivr/')[2]}:{trace.tb_lineno}]"
        trace = trace.tb_next
    return found


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raise HangError after so many seconds of work or of waiting, MemoryError beyond BYTES_A_CASE more than now."""

    def stop(*_: object) -> None:
        raise HangError(f"no end after {CPU_SECONDS_A_CASE:.0f} s of work, {SECONDS_A_CASE:.0f} s in all")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = [(number, signal.signal(number, stop)) for number in (signal.SIGALRM, signal.SIGPROF)]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES_A_CASE, hard))
    signal.setitimer(signal.ITIMER_REAL, SECONDS_A_CASE)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_A_CASE)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in before:
            signal.signal(number, handler)


def _around(folder: Path) -> dict[str, str]:
    """What lies beside the run's folder."""
    return _snapshot(folder / "outside") | {"names": str(sorted(path.name for path in folder.iterdir()))}


def _snapshot(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path) if path.is_file() else ""
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }


# mutations --------------------------------------------------------------------------------------------------------
def mutate(run: Path, draw: random.Random, kinds: tuple[str, ...]) -> str:
    """Change one file below `run`; says how."""
    files = sorted(path for path in run.rglob("*") if path.is_file())
    path = draw.choice(files)
    possible = ["bytes"] * 2 + [kind for kind in kinds for _ in range(4 if kind == "json" else 2)] + ["file"]
    if path.suffix in (".gz", ".xz"):
        possible += ["inner"] * 4 + ["bomb"]
    kind = draw.choice(possible)
    if kind == "json" and path.suffix not in (".json", ".jsonl", ".safetensors"):
        kind = "bytes"
    done = _MUTATIONS[kind](path, draw)
    return f"{path.relative_to(run)}: {done}"


def _bytes(path: Path, draw: random.Random) -> str:
    data, how = mutated_bytes(path.read_bytes(), draw)
    path.write_bytes(data)
    return how


def mutated_bytes(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Bits, lengths, encodings."""
    how = draw.choice(["flip", "flip", "flips", "cut", "cut", "tail", "zeros", "twice", "insert", "encoding", "only"])
    place = draw.randrange(len(data)) if data else 0
    if how == "flip" and data:
        data = data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
    elif how == "flips" and data:
        changed = bytearray(data)
        for _ in range(draw.choice([2, 8, 64])):
            changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        data = bytes(changed)
    elif how == "cut":
        data = data[:place]
    elif how == "tail":
        data = data + draw.randbytes(draw.choice([1, 7, 300]))
    elif how == "zeros":
        length = draw.choice([1, 8, 100])
        data = data[:place] + draw.choice([b"\0", b"\xff"]) * length + data[place + length :]
    elif how == "twice":
        length = draw.choice([1, 50, 5000])
        data = data[: place + length] + data[place:]
    elif how == "insert":
        odd = [b"\xff\xfe", b"\0", b"\xc3", "\u2028".encode(), b"\r", b"\x1b[2J", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]
        data = data[:place] + draw.choice(odd) + data[place:]
    elif how == "encoding":
        text = data.decode("utf-8", "replace")
        encoding = draw.choice(["utf-16", "utf-16-be", "utf-32", "utf-8-sig", "cp1252", "euc-kr", "utf-7"])
        data, how = text.encode(encoding, "replace"), encoding
    elif how == "only":
        data = draw.choice(
            [
                b"",
                b"\n",
                b"{}",
                b"[]",
                b"null",
                b"[" * 200_000,
                b'{"a":' * 50_000,
                b"9" * 5000,
                b"\x80\x04.",
                b"- " * 9999,
            ]
        )
    return data, f"{how} at {place}"


def _json(path: Path, draw: random.Random) -> str:
    """A value of another type or size somewhere in the tree; keys that are gone, new, or there twice."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        length = int.from_bytes(data[:8], "little")
        text, how = mutated_tree(data[8 : 8 + length].decode(), draw)
        header = text.encode("utf-8", "replace")
        size = len(header) if draw.random() < 0.8 else draw.choice([0, 2**40, 2**63, len(header) + 1])
        path.write_bytes(size.to_bytes(8, "little") + header + data[8 + length :])
        return f"header {how}"
    if path.suffix == ".jsonl":
        lines = data.decode().splitlines()
        place = draw.randrange(len(lines))
        lines[place], how = mutated_tree(lines[place], draw)
        path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        return f"line {place + 1} {how}"
    text, how = mutated_tree(data.decode(), draw)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return how


def mutated_tree(text: str, draw: random.Random) -> tuple[str, str]:
    """The JSON text with one node changed."""
    tree = json.loads(text)
    nodes: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            nodes.append((value, key))
            walk(item)

    walk(tree)
    if not nodes:
        return json.dumps(draw.choice(HOSTILE_VALUES)), "the whole value"
    # big arrays would draw all mutations to themselves: half of the time take a node near the root
    parent, key = draw.choice(nodes[:40] if draw.random() < 0.5 else nodes)
    how = draw.choice(["value", "value", "value", "value", "gone", "renamed", "twice", "moved", "deep"])
    said = f"{how} {key!r}"
    if how == "value":
        parent[key] = draw.choice(HOSTILE_VALUES)
        said += f" = {parent[key]!r:.40}"
    elif how == "gone":
        del parent[key]
    elif how == "renamed" and isinstance(parent, dict):
        parent[draw.choice(HOSTILE_TEXT)] = parent.pop(key)
    elif how == "moved":
        other, at = draw.choice(nodes)
        parent[key] = json.loads(json.dumps(other[at])) if at in other or isinstance(other, list) else None
    elif how == "deep":
        deep: Any = 1
        for _ in range(draw.choice([90, 400])):
            deep = [deep] if draw.random() < 0.5 else {"a": deep}
        parent[key] = deep
    text = json.dumps(tree, ensure_ascii=draw.random() < 0.5, indent=draw.choice([None, 2]))
    if how == "twice" and isinstance(parent, dict):
        text = text.replace(json.dumps(key) + ":", f"{json.dumps(key)}: 1, {json.dumps(key)}:", 1)
    return text, said


def _lines(path: Path, draw: random.Random) -> str:
    """Lines gone, doubled, swapped; a word of one replaced."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    place, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    how = draw.choice(["gone", "doubled", "swapped", "word", "word", "word", "number", "long"])
    if how == "gone":
        del lines[place]
    elif how == "doubled":
        lines.insert(place, lines[place])
    elif how == "swapped":
        lines[place], lines[other] = lines[other], lines[place]
    elif how in ("word", "number"):
        hostile = [*(text for text in HOSTILE_TEXT if "\ud800" not in text), *HOSTILE_WORDS]
        parts = lines[place].replace(",", " , ").replace(":", " : ").split(" ")
        parts[draw.randrange(len(parts))] = draw.choice(hostile)
        lines[place] = draw.choice([" ", ""]).join(parts)
    else:
        lines[place] = lines[place] + draw.choice(["x", ",", "\t", '"']) * 200_000
    path.write_bytes("\n".join(lines).encode("utf-8", "replace"))
    return f"line {place + 1} {how}"


def _file(path: Path, draw: random.Random) -> str:
    """Something else than a file of this name: a folder, a link, nothing; another name."""
    how = draw.choice(["gone", "folder", "dangling", "loop", "outside", "empty", "name", "special"])
    if how == "name":
        odd = [b"a\nb", b"caf\xe9", b"-rf", b"x" * 240, b"<b>", "\u1112\u1161".encode(), b" ", b"con", b"%s"]
        name = os.fsdecode((draw.choice(odd) + os.fsencode("".join(path.suffixes)))[-NAME_BYTES:])
        path.rename(path.with_name(name))
        return f"renamed {name!a}"
    path.unlink()
    if how == "folder":
        path.mkdir()
        (path / "x").write_text("x")
    elif how == "dangling":
        path.symlink_to("nowhere")
    elif how == "loop":
        path.symlink_to(path.name)
    elif how == "outside":
        path.symlink_to("../outside/sentinel" if path.parent.name == "run" else "../../outside/sentinel")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "special":
        path.symlink_to("/dev/null")
    return how


def _inner(path: Path, draw: random.Random) -> str:
    """Mutate what is compressed, and compress it again."""
    opener = {".gz": gzip, ".xz": lzma}[path.suffix]
    data, how = mutated_bytes(opener.decompress(path.read_bytes()), draw)
    path.write_bytes(opener.compress(data))
    return f"inside: {how}"


def _bomb(path: Path, draw: random.Random) -> str:
    """Few bytes that unpack to BOMB_BYTES, on one line."""
    if path.suffix not in _BOMBS:
        module = {".gz": gzip, ".xz": lzma}[path.suffix]
        _BOMBS[path.suffix] = b"".join(module.compress(b"x" * (BOMB_BYTES // 8)) for _ in range(1)) * 8
    path.write_bytes(_BOMBS[path.suffix])
    return f"a bomb of {BOMB_BYTES >> 20} MiB"


class _Run:
    """Unpickled, it would write a file outside the folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ../outside/owned",)


def _code(path: Path, draw: random.Random) -> str:
    """A pickle that runs a command: bare, or in the zip archive that torch writes."""
    payload = pickle.dumps({"wte.weight": _Run()}, protocol=2)
    if draw.random() < 0.5:
        path.write_bytes(payload)
        return "a pickle with code"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    path.write_bytes(packed.getvalue())
    return "torch's archive with code"


_BOMBS: dict[str, bytes] = {}
_MUTATIONS: dict[str, Callable[[Path, random.Random], str]] = {
    "bytes": _bytes,
    "json": _json,
    "lines": _lines,
    "file": _file,
    "inner": _inner,
    "bomb": _bomb,
    "code": _code,
}
