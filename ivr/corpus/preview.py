"""What the beginnings of the raw files say already: whether there is anything to read, before hours of cleaning."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ivr.corpus.readers import ReadOptions, decide_reading, read_source
from ivr.corpus.reading.items import Document
from ivr.corpus.sources import COMPRESSIONS, READABLE, find_sources
from ivr.corpus.summary import keys_advice
from ivr.errors import ConfigError

MOST_FILES, MOST_ITEMS = 100, 1000


def check_beginnings(root: Path, options: ReadOptions) -> None:
    """Raises ConfigError where the beginning of no file holds a document; CorruptInputError for a damaged one."""
    sources, left_out = find_sources(root)
    rejected = Counter(item.reason for item in left_out)
    text_keys: Counter[str] = Counter()
    for source in sources[:MOST_FILES]:
        for number, item in enumerate(read_source(source, options, decide_reading(source, options))):
            if number == MOST_ITEMS:
                break
            if isinstance(item, Document):
                if item.text.strip("\0 \t\n\r"):
                    return
                rejected["empty"] += 1
                continue
            rejected[item.reason] += 1
            text_keys.update(dict(item.keys))
    if len(sources) <= MOST_FILES:
        raise no_document(root, rejected, text_keys)


def no_document(root: Path, rejected: Mapping[str, int], text_keys: Mapping[str, int]) -> ConfigError:
    """The one sentence for a corpus without a document."""
    reasons = ", ".join(f"{reason} ({number:,})" for reason, number in sorted(rejected.items())) or "empty files"
    advice = "check --text-key, --encoding and --document-separator"
    if text_keys:
        advice += f"; {keys_advice(dict(text_keys))}"
    return ConfigError(f"no document of {root} could be used: {reasons}; {advice} (looked for {READABLE})")


def least_bytes(root: Path) -> int:
    """What the cleaned text of a corpus takes at least, about: as much as its .txt files, more than compressed ones."""
    sources, _ = find_sources(root)
    counted = (item for item in sources if item.format == ".txt" or item.name.lower().endswith(COMPRESSIONS))
    return sum(source.path.stat().st_size for source in counted)
