"""Which encoding a file of text is in: its byte order mark decides, else the option; what looks like another is said.

No option holds for a whole folder: one file of it comes from Notepad, the next from a Linux tool. So each file is
looked at: a mark decides for its file, text that is plainly UTF-8 is read as such whatever the option says, and what
cannot be what the option says is refused with the option to try.
"""

import codecs
import itertools
import unicodedata
from dataclasses import dataclass

from ivr.errors import ConfigError

SAMPLE_BYTES = 1 << 18
GUESSED_LINES = 1000
LOOKED_AT_CHARACTERS = 20_000
# more than one of a kind, so that a single word of another encoding that happens to be valid does not decide
FEW_CHARACTERS = 4
NEEDED_TO_GUESS = 6
NO_TEXT = frozenset({"punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined"})
MARKS = (  # longest first: that of UTF-32 LE begins with that of UTF-16 LE
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
MAGIC = (
    (b"PK\x03\x04", "a ZIP archive (.zip, .docx, .xlsx, .epub)"),
    (b"%PDF-", "a PDF"),
    (b"\x1f\x8b", "compressed by gzip (its name should end in .gz)"),
    (b"\xfd7zXZ\x00", "compressed by xz (its name should end in .xz)"),
    (b"BZh", "compressed by bzip2"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"PAR1", "a Parquet table"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x7fELF", "a program"),
)
ESCAPE = b"\x1b$"
SEVEN_BIT = {  # written in ASCII bytes, with shifts between alphabets -> how a shift begins
    **dict.fromkeys(("iso2022_kr", "iso2022_jp", "iso2022_jp_2", "iso2022_jp_3"), ESCAPE),
    "hz": b"~{",
    "utf-7": b"+",
}
WIDE = {"utf-16": ("utf-16-le", "utf-16-be"), "utf-32": ("utf-32-le", "utf-32-be")}


@dataclass(frozen=True, slots=True)
class Decision:
    """How a file is decoded after its first `mark_bytes` bytes; `refused`: why it is not; `said`: what to tell."""

    encoding: str = ""
    mark_bytes: int = 0
    refused: str = ""
    said: str = ""


def check_encoding(encoding: str) -> None:
    """Raises ConfigError for an encoding Python does not know, or that is not one of text."""
    try:
        known = "aé\n".encode(encoding, "replace").decode(encoding)
        codecs.getincrementaldecoder(encoding)
        works = known[:1] == "a" and codecs.lookup(encoding).name.replace("-", "_") not in NO_TEXT
    except (LookupError, UnicodeError, ValueError):
        works = False
    if not works:
        raise ConfigError(f"--encoding {encoding}: unknown text encoding; try utf-8, utf-16, cp949 or latin-1")


def decide(sample: bytes, wanted: str) -> Decision:
    """The encoding of a file that begins with `sample` where the option says `wanted`.

    >>> decide("a".encode("utf-16"), "cp949").encoding
    'utf-16-le'
    >>> decide("한국어를 씁니다".encode(), "cp949").encoding
    'utf-8'
    >>> decide("plain words".encode("utf-16-be"), "utf-8").refused
    'looks like UTF-16-BE without a byte order mark; give --encoding utf-16-be'
    """
    for mark, encoding in MARKS:
        if sample.startswith(mark) and _decodes(sample, encoding):
            return Decision(encoding, len(mark))
    for mark, encoding in MARKS:  # a mark decides, even where what follows is damaged
        if sample.startswith(mark) and not encoding.startswith("utf-32"):
            return Decision(encoding, len(mark))
    for magic, what in MAGIC:
        if sample.startswith(magic):
            return Decision(refused=f"is {what}, not text")
    name = codecs.lookup(wanted).name
    name = "utf-8" if name in ("utf-8-sig", "ascii") else name
    wide = looks_wide(sample)
    if name.startswith(("utf-16", "utf-32")):
        return _decide_wide(sample, name, wide)
    if wide:
        return Decision(refused=f"looks like {wide.upper()} without a byte order mark; give --encoding {wide}")
    if not name.startswith(("iso2022", "hz", "utf-7")) and (like := looks_seven_bit(sample)):
        return Decision(refused=f"looks like {like}, which is written in ASCII bytes; give --encoding {like}")
    if name != "utf-8" and _is_plainly_utf8(sample):
        return Decision("utf-8", said=f"is UTF-8 and is read as such, not as {wanted}")
    return Decision(name)


def _decide_wide(sample: bytes, name: str, wide: str) -> Decision:
    """The option is UTF-16 or UTF-32 and there is no mark."""
    if not sample:
        return Decision(name)
    if wide and (name == wide or wide in WIDE.get(name, ())):
        return Decision(wide)
    if _decodes(sample, "utf-8") and b"\0" not in sample:
        return Decision("utf-8", said=f"is UTF-8 and is read as such, not as {name}")
    if wide:
        return Decision(refused=f"looks like {wide.upper()}, not {name.upper()}; give --encoding {wide}")
    if name in WIDE:
        little, big = WIDE[name]
        return Decision(
            refused=f"has no byte order mark and its order cannot be told; give --encoding {little} or {big}"
        )
    return Decision(name)


def looks_wide(sample: bytes) -> str:
    """`utf-16-le`, `utf-16-be`, `utf-32-le` or `utf-32-be` where a file is plainly text in that, else empty.

    It is no text as UTF-8, and it is as the other, with blanks and line ends where texts have some.
    """
    if _is_text(sample, "utf-8"):
        return ""
    zeros = sample.count(0)
    if zeros * 5 < len(sample) and _is_text(sample.replace(b"\0", b""), "utf-8"):
        return ""  # text with some zeros in it
    for encoding, unit in (("utf-32-le", 4), ("utf-32-be", 4)):
        if len(sample) >= 2 * unit and _is_text(sample, encoding):
            return encoding
    # blanks, line ends and Latin letters, whose other byte is zero: in the wrong order they are none of these
    plain = {"utf-16-le": 0, "utf-16-be": 0}
    for encoding in plain:
        if _is_text(sample, encoding):
            plain[encoding] = sum(c.isascii() for c in _beginning(sample, encoding))
    first, second = sorted(plain, key=lambda encoding: -plain[encoding])
    many = plain[first] > 0 and plain[first] * 500 >= len(sample[: 2 * LOOKED_AT_CHARACTERS]) // 2
    return first if many and plain[first] >= 3 * plain[second] else ""


def looks_seven_bit(sample: bytes) -> str:
    r"""The encoding of SEVEN_BIT that ASCII bytes plainly are, by their shifts; else empty.

    >>> looks_seven_bit("대한민국".encode("iso2022_kr")), looks_seven_bit(b"\x1b$x is the shell's")
    ('iso2022_kr', '')
    """
    if not sample.isascii():
        return ""
    for encoding, shift in SEVEN_BIT.items():
        if shift in sample and _is_text(sample, encoding):
            text = _beginning(sample, encoding)
            letters = sum(c.isalpha() for c in text if not c.isascii())
            # an escape is in no text; the other shifts are, and must make most of it letters
            least = 1 if shift == ESCAPE else max(FEW_CHARACTERS, len("".join(text.split())) / 2)
            if letters >= least and "\x1b" not in text:
                return encoding
    return ""


def _is_text(sample: bytes, encoding: str) -> bool:
    """Whether nearly all that is decoded is of characters that texts are made of."""
    if not _decodes(sample, encoding):
        return False
    text = _beginning(sample, encoding)
    odd = sum(unicodedata.category(c) in ("Cn", "Co", "Cs", "Cc") and c not in "\t\n\r\f\v\x1b" for c in text)
    return odd * 50 <= len(text)


def _beginning(sample: bytes, encoding: str) -> str:
    return codecs.getincrementaldecoder(encoding)().decode(sample)[:LOOKED_AT_CHARACTERS]


def _decodes(sample: bytes, encoding: str) -> bool:
    """Whether `sample`, which may end within a character, is valid."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample, final=False)
    except UnicodeError:
        return False
    return True


def _is_plainly_utf8(sample: bytes) -> bool:
    if sample.isascii() or not _decodes(sample, "utf-8"):
        return False
    text = codecs.getincrementaldecoder("utf-8")().decode(sample)
    return sum(not c.isascii() for c in text) >= FEW_CHARACTERS


def guess(data: bytes) -> str:
    """The encoding that bytes which are no UTF-8 are most likely in, for `--encoding`; empty where none fits.

    >>> guess("대한민국의 공용어는 한국어다".encode("cp949"))
    'cp949'
    >>> guess("le café déjà fermé a été rénové".encode("latin-1"))
    'cp1252'
    """
    for encoding, fits in (
        ("cp949", lambda text: _share(text, "\uac00", "\ud7a3") >= 0.8),
        ("cp932", lambda text: _share(text, "\u3040", "\u30ff") >= 0.3),
        ("gb18030", lambda text: _share(text, "\u3000", "\uffef") >= 0.95 and _encodable(text, "gb2312") >= 0.95),
        ("big5", lambda text: _share(text, "\u3000", "\uffef") >= 0.95),
        ("cp1251", _is_mostly_small_cyrillic),
        ("koi8-r", _is_mostly_small_cyrillic),
        ("cp1252", lambda text: sum(c.isalpha() or c in "’‘“”–—…«»°§€£" for c in text) >= 0.6 * len(text)),
        ("latin-1", lambda text: sum(c.isalpha() for c in text) >= 0.6 * len(text)),
    ):
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(data)
        except UnicodeError:
            continue
        marks = "".join(c for c in text if not c.isascii())
        is_script = encoding not in ("cp1251", "koi8-r") or _in_words(text)
        if len(marks) >= NEEDED_TO_GUESS and fits(marks) and is_script:
            return encoding
    return ""


def guess_invalid(sample: bytes) -> str:
    """`guess` for the lines of a file's beginning that are no UTF-8; the last one may be cut."""
    lines = sample.split(b"\n")
    return guess(b"\n".join([line for line in lines[:-1] if not _decodes(line + b" ", "utf-8")][:GUESSED_LINES]))


def _share(text: str, first: str, last: str) -> float:
    return sum(first <= c <= last for c in text) / len(text)


def _encodable(text: str, encoding: str) -> float:
    return 1 - text.encode(encoding, "replace").count(b"?") / len(text)


def _in_words(text: str) -> bool:
    """Whether characters beyond ASCII stand beside each other, as in a script of their own."""
    beyond = [not c.isascii() for c in text]
    return sum(one and other for one, other in itertools.pairwise(beyond)) * 2 >= sum(beyond)


def _is_mostly_small_cyrillic(text: str) -> bool:
    small = _share(text, "\u0430", "\u044f")
    return small >= 0.7 and small > 3 * _share(text, "\u0410", "\u042f")
