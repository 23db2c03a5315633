"""What a comparison reads of each run: its setting and its figures, and its losses document by document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ivr.artifacts import ArtifactPaths
from ivr.card.facts import CardFacts
from ivr.console import LOG
from ivr.errors import ConfigError
from ivr.evaluation.intervals import Difference, bootstrap_difference
from ivr.report.summary import Run, read_run, tokens_saved
from ivr.schema import read_table

COLUMNS = {"text": "string", "document": "int", "model": "string", "bytes": "int", "bits": "double"}
AFTER, BEFORE = "trained", "base"


@dataclass(frozen=True)
class Compared:
    """One run of a comparison. name: of its directory, made unique."""

    name: str
    run: Run
    facts: CardFacts = field(repr=False)

    @property
    def domain(self) -> str:
        """The domain text: the hash of its cleaned files, which is the same for the same text."""
        return next((corpus.sha256[:8] for corpus in self.facts.corpora if corpus.kind == "domain"), "")

    @property
    def saved(self) -> float | None:
        """Percent of the tokens of held-out domain text."""
        found = tokens_saved(self.run)
        return None if found is None else found[2]

    def setting(self, stage: str, key: str) -> Any:
        return self.run.option(stage, key)

    def change(self, text: str) -> Mapping[str, Any] | None:
        """Bits per byte after training less before it, with the ends of the interval."""
        return self.facts.difference(text)

    def less_control(self, text: str) -> Mapping[str, Any] | None:
        """Bits per byte after training less those of the base model trained on as many bytes; None without control."""
        found = ((self.run.result("evaluate", "differences") or {}).get(text) or {}).get("trained - control-bytes")
        return found if isinstance(found, Mapping) else None

    @cached_property
    def losses(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Of the trained model: kind of text -> (bits_N, bytes_N), in the order of the documents."""
        path = self.run.paths.evaluated_documents
        if not path.is_file():
            return {}
        table = read_table(path, COLUMNS, f"run `ivr evaluate --artifacts-dir {self.run.paths.root}` again")
        found = {}
        texts, models = np.array(table["text"].to_pylist()), np.array(table["model"].to_pylist())
        bits, sizes = table["bits"].to_numpy(), table["bytes"].to_numpy()
        for text in dict.fromkeys(texts.tolist()):
            chosen = (texts == text) & (models == AFTER)
            if chosen.any():
                found[text] = bits[chosen], sizes[chosen]
        return found

    def heldout(self, text: str) -> str:
        """The hash of a held-out text; empty where it is not of this run."""
        return next((corpus.heldout_sha256 for corpus in self.facts.corpora if corpus.kind == text), "")


def read_runs(folders: Sequence[Path]) -> list[Compared]:
    """The runs in these directories, in this order. What is no run is left out, and named.

    Raises ConfigError where none is left.
    """
    found: list[Path] = []
    for folder in dict.fromkeys(folders):
        if any(ArtifactPaths(folder).root.glob("manifests/*.json")):
            found.append(folder)
        else:
            LOG.warning("report: %s is left out: no stage has run there", folder)
    if not found:
        raise ConfigError("--runs: no stage has run in any of these directories; name artifacts directories")
    names = [folder.resolve().name for folder in found]
    unique = len(set(names)) == len(names)
    runs = [read_run(ArtifactPaths(folder)) for folder in found]
    return [
        Compared(name if unique else str(folder), run, CardFacts(run.manifests))
        for name, folder, run in zip(names, found, runs, strict=True)
    ]


def against(first: Compared, other: Compared, text: str) -> Difference | None:
    """The trained model of `other` less that of `first` on the same documents; None where these are not the same."""
    if text not in first.losses or text not in other.losses or not first.heldout(text):
        return None
    (bits_N, bytes_N), (other_bits_N, other_bytes_N) = first.losses[text], other.losses[text]
    if first.heldout(text) != other.heldout(text) or not np.array_equal(bytes_N, other_bytes_N):
        return None
    return bootstrap_difference(other_bits_N - bits_N, bytes_N)
