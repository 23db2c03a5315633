"""What a card says of a run, read from its manifests: base model, corpora by hash, swaps, figures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.disk.digest import sha256_json
from ivr.manifest import FileRecord, Manifest

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
MODELS = ("base", "aligned", "trained")
BEFORE_TRAINING = ("init", "select")  # the stages before it that a card reads
TEXTS = {"domain": "domain", "general": "general"}
FOLDERS = {
    "domain": ("corpora/cleaned", "corpora/heldout"),
    "general": ("corpora/general/cleaned", "corpora/general/heldout"),
}


@dataclass(frozen=True)
class Corpus:
    """One kind of text. sha256: over the hashes of its cleaned files, in the order of their names."""

    kind: str
    files: int
    documents: int | None
    bytes: int | None
    sha256: str
    heldout_sha256: str


@dataclass(frozen=True)
class CardFacts:
    """Manifests by stage, as far as there are any; how the training went: what -> value."""

    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    new_tokens: Sequence[str] = ()  # some of them, as text
    tokenizer_class: str = "AutoTokenizer"  # of transformers, that loads the tokenizer as it stands

    def result(self, stage: str, key: str) -> Any:
        manifest = self.manifests.get(stage)
        return None if manifest is None else manifest.results.get(key)

    @property
    def base_model(self) -> str:
        """Its name; of one from a local directory only the last part, which says nothing of this machine."""
        manifest = self.manifests.get("init")
        name = str(manifest.config.get("model_name") or "") if manifest else ""
        return name if self.hub_revision else PurePath(name).name

    @property
    def hub_revision(self) -> str:
        """The commit on the Hub the base model was pinned to; empty for one that is not from there."""
        manifest = self.manifests.get("init")
        name = str(manifest.config.get("model_name") or "") if manifest else ""
        revision = str(self.result("init", "revision") or "")
        return revision if HUB_NAME.fullmatch(name) else ""

    @property
    def swaps(self) -> int | None:
        swaps = self.result("select", "swaps")
        return None if swaps is None else int(swaps)

    @property
    def corpora(self) -> list[Corpus]:
        """Of each kind of text that `init` cleaned."""
        manifest = self.manifests.get("init")
        if manifest is None:
            return []
        told: Mapping[str, Mapping[str, Any]] = manifest.results.get("corpora") or {}
        found = []
        for kind, folders in FOLDERS.items():
            cleaned, heldout = (_below(manifest.outputs, folder) for folder in folders)
            if cleaned:
                counts = told.get(kind) or {}
                sizes = counts.get("documents"), counts.get("bytes")
                found.append(Corpus(kind, len(cleaned), *sizes, _combined(cleaned), _combined(heldout)))
        return found

    def bits_per_byte(self, text: str, model: str) -> float | None:
        value = ((self.result("evaluate", "bits_per_byte") or {}).get(text) or {}).get(model)
        return None if value is None else float(value)

    def difference(self, text: str) -> Mapping[str, Any] | None:
        """After training less before it, with the ends of its interval."""
        found = ((self.result("evaluate", "differences") or {}).get(text) or {}).get("trained - base")
        return found if isinstance(found, Mapping) else None

    @property
    def prompt_end(self) -> Mapping[str, Any] | None:
        """What evaluate found of prompts of the domain, for the trained model, where some end inside a token."""
        found = ((self.result("evaluate", "prompt_ends") or {}).get("domain") or {}).get("trained")
        return found if isinstance(found, Mapping) and found.get("inside") else None

    @property
    def tokens_saved_percent(self) -> float | None:
        before, after = (self.result("evaluate", f"heldout_tokens_{when}") for when in ("before", "after"))
        return None if not before or after is None else 100 * (before - after) / before


def card_facts(paths: ArtifactPaths, training: Mapping[str, Any], own: bool) -> CardFacts:
    """What is known when `train` has ended: its results, and what the stages before it found.

    own: it trained the run's own model on the run's own text; of others those stages know nothing.
    """
    found = {stage: Manifest.read(paths.manifest(stage)) for stage in BEFORE_TRAINING if own}
    manifests = {stage: manifest for stage, manifest in found.items() if manifest is not None}
    return CardFacts(manifests, training_rows(training))


def training_rows(results: Mapping[str, Any]) -> dict[str, Any]:
    """How the training went, of the results of `train`: nothing that differs between two identical runs."""
    named = {
        "optimizer steps": "steps",
        "tokens seen": "tokens",
        "bytes of text seen": "bytes",
        "passes over the text": "passes_over_text",
        "loss, first step (nats a token)": "loss_first",
        "loss, mean of the last steps": "loss_last",
        "held-out bits per byte before": "heldout_bits_per_byte_first",
        "held-out bits per byte after": "heldout_bits_per_byte_last",
    }
    return {what: results[key] for what, key in named.items() if results.get(key) is not None}


def _below(rows: list[FileRecord], folder: str) -> list[FileRecord]:
    return sorted((row for row in rows if PurePath(row.path).is_relative_to(folder)), key=lambda row: row.path)


def _combined(rows: list[FileRecord]) -> str:
    return sha256_json([row.sha256 for row in rows]) if rows else ""
