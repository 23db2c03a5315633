"""A whole run on a tiny model and corpus, stage by stage through the command line, in seconds. No torch."""

import json
import random
from pathlib import Path
from typing import Any

from small_bpe import END, Merges, write_model_directory
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from ivr.artifacts import ArtifactPaths
from ivr.cli import main

SWAPS = 25
WORDS = ["the", "of", "and", "cell", "protein", "binding", "in", "with", "gene", "expression", "neuron", "receptor"]
GENERAL_WORDS = ["window", "garden", "yellow", "bread", "river", "music", "winter", "sister", "table", "street"]
RARE = [
    *("zebrafish", "hippocampus", "phosphorylation", "immunofluorescence", "cytokine", "세포주", "mutagenesis"),
    *("adenovirus", "bronchial", "calcium", "dopamine", "erythrocyte", "fibroblast", "glucose", "histology", "insulin"),
    *("keratin", "lymphoma", "melatonin", "nucleotide", "osteoblast", "plasmid", "ribosome", "serotonin", "tubulin"),
]
NASTY = [
    f"a literal {END} inside, and {END}{END} twice",
    "it's we're I'll you'd don't 'tis ''s 'S 'quoted'",
    "tabs\tand\u00a0NBSP\u2003em\u200bzero\u200dwidth \ufeff bom",
    "  leading,   runs    of blanks  and trailing   ",
    "line one\n\n\n  line two\u2028and three\u0085four\x0bfive",
    "combining e\u0301 \u0915\u094d\u0937 \U0001f468\u200d\U0001f469\u200d\U0001f467 🇰🇷 \u1112\u1161\u11ab",
    "digits 1234567890 ٣٤٥ ½ ² Ⅷ 一二三 1a2b",
    "unassigned \u088f\u0c5c \U0001df1f \u0378 \ue000 \U000f1234 \U0010ffff",
    "ㅋㅋㅋㅋㅋㅋㅋ ..... ----- aaaaaaaaaa '''''' =====",
    "x",
]


def domain_documents(count: int = 150, seed: int = 1) -> list[str]:
    """Words of a field, some of them in capitals or with punctuation; some strings are frequent that are no token."""
    draw = random.Random(seed)
    words = [*WORDS * 3, *RARE, "zebrafish,", "(cytokine)", "ZEBRAFISH", "zebrafish-like", "2024", "10.5%", "..."]
    return [" ".join(draw.choices(words, k=draw.randint(3, 60))) for _ in range(count)] + NASTY


def learnt_merges(texts: list[str], num_merges: int = 300) -> Merges:
    """Merges that the `tokenizers` trainer learns from these texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + num_merges, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


class TinyRun:
    """One artifacts directory. `run("analyze", "--threads", "1")` is `ivr analyze --threads 1`; gives the exit code."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = ArtifactPaths(root / "artifacts")

    def __call__(self, stage: str, *arguments: str) -> int:
        return main([stage, "--artifacts-dir", str(self.paths.root), "-q", *arguments])

    def write_inputs(
        self, merges: Merges, documents: list[str], general: list[str] | None = None, model: str = "model"
    ) -> list[str]:
        """Write a model directory and raw corpora; returns the arguments with which `init` takes them."""
        arguments = ["--model-name", str(write_model_directory(self.root / model, merges)), "--heldout-fraction", "0"]
        for option, texts in (("--raw-corpora-dir", documents), ("--general-corpora-dir", general)):
            if texts is not None:
                folder = self.root / option.strip("-")
                folder.mkdir(exist_ok=True)
                lines = (json.dumps({"text": text}) + "\n" for text in texts)
                (folder / "texts.jsonl").write_text("".join(lines), encoding="utf-8")
                arguments += [option, str(folder)]
        return arguments

    def manifest(self, stage: str) -> dict[str, Any]:
        return json.loads(self.paths.manifest(stage).read_text(encoding="utf-8"))

    def results(self, stage: str) -> dict[str, Any]:
        return self.manifest(stage)["results"]

    def tokenizer(self, name: str) -> Tokenizer:
        """`original`, `distilled_unigram` or `remapped`, read from its file; a literal special token is text."""
        tokenizer = Tokenizer.from_file(str(self.paths.root / "tokenizers" / name / "tokenizer.json"))
        tokenizer.encode_special_tokens = True
        return tokenizer
