"""Where every artifact lies below one artifacts directory."""

from dataclasses import dataclass
from pathlib import Path

from ivr.errors import StaleInputError

CONTROL_ARMS = ("bytes", "flops")  # what a control has as much of as the trained model


@dataclass(frozen=True)
class ArtifactPaths:
    """The contract of names below one artifacts directory."""

    root: Path

    def manifest(self, stage: str) -> Path:
        return self.root / "manifests" / f"{stage}.json"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    # corpora ------------------------------------------------------------------------------------------------
    @property
    def raw_corpora(self) -> Path:
        return self.root / "corpora" / "raw"

    @property
    def sample_corpora(self) -> Path:
        """Text of the built-in sample: general/ and domain/, .jsonl."""
        return self.root / "corpora" / "sample"

    @property
    def cleaned_corpora(self) -> Path:
        """One .txt per source: UTF-8, LF, documents separated by a line `<|endoftext|>`."""
        return self.root / "corpora" / "cleaned"

    @property
    def heldout_corpora(self) -> Path:
        """The documents of the same sources that no stage learns from; same format."""
        return self.root / "corpora" / "heldout"

    @property
    def general_cleaned(self) -> Path:
        """General text to protect (may be absent); same format."""
        return self.root / "corpora" / "general" / "cleaned"

    @property
    def general_heldout(self) -> Path:
        return self.root / "corpora" / "general" / "heldout"

    @property
    def rejects(self) -> Path:
        """JSONL: every document or line left out, with file, line and reason."""
        return self.root / "corpora" / "rejects.jsonl"

    # model --------------------------------------------------------------------------------------------------
    @property
    def base_model(self) -> Path:
        """The pinned base model: config, weights and tokenizer, as `from_pretrained` takes it."""
        return self.root / "models" / "base"

    @property
    def aligned_model(self) -> Path:
        return self.root / "models" / "aligned"

    # analysis -----------------------------------------------------------------------------------------------
    @property
    def reports(self) -> Path:
        return self.root / "analysis" / "reports"

    @property
    def token_frequency(self) -> Path:
        return self.reports / "token_frequency.parquet"

    @property
    def pretoken_frequency(self) -> Path:
        return self.reports / "pretoken_frequency.parquet"

    @property
    def general_pretoken_frequency(self) -> Path:
        """The same table for the general text; absent when there is none."""
        return self.reports / "general_pretoken_frequency.parquet"

    @property
    def token_id_sequences(self) -> Path:
        return self.reports / "bpe_token_id_sequences.txt"

    @property
    def replacement_candidates(self) -> Path:
        return self.reports / "replacement_candidates.csv"

    @property
    def selection_log(self) -> Path:
        return self.reports / "selection_log.md"

    # tokenizers ---------------------------------------------------------------------------------------------
    @property
    def original_tokenizer(self) -> Path:
        return self.root / "tokenizers" / "original"

    @property
    def distilled_tokenizer(self) -> Path:
        return self.root / "tokenizers" / "distilled_unigram"

    @property
    def certificate(self) -> Path:
        return self.distilled_tokenizer / "certificate.json"

    @property
    def remapped_tokenizer(self) -> Path:
        return self.root / "tokenizers" / "remapped"

    @property
    def remap_rules(self) -> Path:
        return self.remapped_tokenizer / "remap_rules.yaml"

    # weights ------------------------------------------------------------------------------------------------
    @property
    def embeddings(self) -> Path:
        return self.root / "embeddings"

    @property
    def training(self) -> Path:
        return self.root / "training"

    @property
    def final_model(self) -> Path:
        return self.training / "final"

    def control(self, arm: str) -> "ArtifactPaths":
        """A training of its own below this run: of the base model, with as much of `arm` ("bytes", "flops")."""
        return ArtifactPaths(self.root / "control" / arm)

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation" / "evaluation.json"

    @property
    def evaluated_documents(self) -> Path:
        """One row a held-out document and model: bytes, tokens, bits."""
        return self.root / "evaluation" / "documents.parquet"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def crash(self) -> Path:
        """Tracebacks of faults of this program, for whoever can mend it; no stage reads them."""
        return self.root / "crash"


def check_there(root: Path) -> None:
    """For commands that only read: raises StaleInputError where there is no run to look at, and makes nothing."""
    if not root.is_dir():
        raise StaleInputError(f"there is no {root}; `ivr init --artifacts-dir {root}` begins a run there")
