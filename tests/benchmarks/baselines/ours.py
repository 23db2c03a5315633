"""The pipeline's own stages on one corpus, as a user runs them."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ivr.artifacts import ArtifactPaths
from ivr.base.tokenizer import write_tokenizer_config

ROOT = Path(__file__).resolve().parents[3]
STAGES = ("init", "analyze", "distill-tokenizer")


class Run:
    """One artifacts directory."""

    def __init__(self, root: Path, gpt2_dir: Path, corpus: Path, general: Path | None) -> None:
        """`corpus`, `general`: raw files."""
        self.root, self.gpt2_dir, self.corpus, self.general = root, gpt2_dir, corpus, general
        self.paths = ArtifactPaths(root / "artifacts")

    def prepare(self, last_stage: str) -> None:
        """Run the stages up to this one, those that are not current."""
        for stage in STAGES[: STAGES.index(last_stage) + 1]:
            self._ivr(stage, *(self._init_options() if stage == "init" else []))

    def _init_options(self) -> list[str]:
        model = self.root / "model"
        if not (model / "model.safetensors").is_file():
            _write_model(model, self.gpt2_dir)
        options = ["--model-name", str(model), "--raw-corpora-dir", str(_folder_with(self.root / "raw", self.corpus))]
        if self.general:
            options += ["--general-corpora-dir", str(_folder_with(self.root / "general", self.general))]
        return options

    def select_and_remap(self, swaps: int, *options: str) -> Path:
        """The remapped tokenizer.json; `options`: more of `ivr select`."""
        self._ivr("select", "--swaps", str(swaps), *options)
        self._ivr("remap")
        return self.paths.remapped_tokenizer / "tokenizer.json"

    def words(self) -> tuple[list[bytes], np.ndarray]:
        """Distinct pretokens of the text to learn from, and how often each occurs."""
        from ivr.analysis.tables import read_pretoken_frequency

        table = read_pretoken_frequency(self.paths.pretoken_frequency)
        return [pretoken.encode() for pretoken in table.pretokens], table.counts_P

    def documents(self) -> Iterator[str]:
        """The documents to learn from."""
        from ivr.corpus.documents import read_documents

        return read_documents(self.paths.cleaned_corpora)

    def heldout_pretokens(self) -> int:
        """Pretokens of the held-out text: the fewest tokens there can be if none crosses a pretoken's border."""
        from tokenizers import Tokenizer

        from ivr.analysis.analyze import count_corpus

        tokenizer = Tokenizer.from_file(str(self.paths.original_tokenizer / "tokenizer.json"))
        return int(count_corpus(tokenizer, self.paths.heldout_corpora, 2, "held-out pretokens").counts_P.sum())

    def _ivr(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "ivr", *arguments, "--artifacts-dir", str(self.paths.root), "--quiet"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)


def _folder_with(folder: Path, file: Path) -> Path:
    """A folder that holds this one file."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / file.name)
    return folder


def _write_model(folder: Path, gpt2_dir: Path) -> None:
    """A model directory around GPT-2's tokenizer: no stage up to `remap` looks at its weights, but `init` wants all."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_positions=32, n_embd=4, n_layer=1, n_head=1))
    torch.nn.init.zeros_(model.transformer.wte.weight)  # random rows would decide which unused ids leave first
    model.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(gpt2_dir / name, folder / name)
    write_tokenizer_config(folder, None)
