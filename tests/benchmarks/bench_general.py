"""Byte-level BPEs trained here, distilled and verified: 8k and 32k, with and without a prefix blank and added tokens.

    python tests/benchmarks/bench_general.py [--sizes 8000,32000] [--kinds plain,blank,added,blank+added]
                                             [--corpora biomedical,korean_reviews] [--megabytes 10] [--json FILE]

Each is trained with `tokenizers` on the corpora, then goes through `ivr analyze`, `ivr distill-tokenizer` and
`ivr verify` as a user runs them. Printed: what differs of the corpus (documents, and distinct pretokens by cause), of
the same corpora's text behind it that was not analysed, of all ids, short runs and adversarial strings. A difference in
documents that the certificate does not name is an error. What stands in the json is not measured again.
"""

import argparse
import json
import lzma
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parents[2]
END = "<|endoftext|>"
KINDS = {"plain": (False, False), "blank+added": (True, True), "blank": (True, False), "added": (False, True)}
ADDED = ("<|im_start|>", "<|im_end|>", "[URL]")


def train(file: Path, size: int, *, prefix_space: bool, added: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size - 1, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train([str(file)], trainer)
    tokenizer.add_special_tokens([END])
    if added:
        tokenizer.add_tokens([AddedToken(token, special=token.startswith("<")) for token in ADDED])
    return tokenizer


def write_model(folder: Path, tokenizer: Tokenizer) -> None:
    """A GPT-2 model directory of zeros: `ivr init` wants a whole model."""
    folder.mkdir()
    size = tokenizer.get_vocab_size()
    config = {"model_type": "gpt2", "vocab_size": size, "n_positions": 32, "n_embd": 4, "n_layer": 1, "n_head": 1}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"wte.weight": np.zeros((size, 4), np.float32)}, str(folder / "model.safetensors"))
    tokenizer.save(str(folder / "tokenizer.json"))
    prefix = json.loads(tokenizer.to_str())["pre_tokenizer"]["add_prefix_space"]
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END)
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": prefix, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))


def ivr(stage: str, artifacts: Path, *arguments: object) -> dict[str, Any]:
    """Run a stage; returns its manifest."""
    command = [sys.executable, "-m", "ivr", stage, "--artifacts-dir", str(artifacts), "-q", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return dict(json.loads((artifacts / "manifests" / f"{stage}.json").read_text(encoding="utf-8")))


def measure(
    place: Path, kind: str, size: int, corpus: Path, beyond: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Train, distil and verify one of them."""
    prefix_space, added = KINDS[kind]
    write_model(place, train(corpus, size, prefix_space=prefix_space, added=added))
    run = place / "artifacts"
    ivr("init", run, "--model-name", place, "--raw-corpora-dir", corpus, "--heldout-fraction", 0)
    ivr("analyze", run, "--no-sequences")
    seconds = ivr("distill-tokenizer", run)["wall_seconds"]
    found = ivr("verify", run, "--runs", options.runs, "--adversarial", options.adversarial)["results"]
    unseen = ivr("verify", run, "--runs", 0, "--corpus", beyond, "--output", run / "unseen.json")["results"]
    certificate = run / "tokenizers" / "distilled_unigram" / "certificate.json"
    said = json.loads(certificate.read_text(encoding="utf-8"))
    vocabulary, types = said["vocabulary"], said["corpus"]
    return {
        "kind": kind,
        "size": size,
        "seconds": seconds,
        **{name: found[name] for name in ("documents", "different_documents", "runs", "different_runs")},
        **{name: types[name] for name in ("types", "mismatched_types", "causes")},
        "ids": sum(len(vocabulary[name]) for name in ("different_strings", "different_encodings", "not_to_themselves")),
        "adversarial": found["adversarial_equal_percent"],
        "unseen_pretokens": unseen["pretokens"],
        "unseen_per_million": unseen["mismatches_per_million"],
        "units": said["fit"]["run_units"],
        "honest": types["mismatched_occurrences"] >= found["mismatched_pretokens"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or shared / "corpora"))
    parser.add_argument("--corpora", default="biomedical,korean_reviews")
    parser.add_argument("--megabytes", type=float, default=10.0, help="of all corpora together")
    parser.add_argument("--sizes", default="8000,32000")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--adversarial", type=int, default=20_000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path, help="read what was measured before, and write the figures there")
    options = parser.parse_args()
    names = options.corpora.split(",")
    rows = json.loads(options.json.read_text()) if options.json and options.json.is_file() else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus, beyond = folder / "corpus.txt", folder / "beyond.txt"
        with corpus.open("w", encoding="utf-8", newline="\n") as fitted, beyond.open("w", encoding="utf-8") as unseen:
            for each in names:
                with lzma.open(options.corpora_dir / f"{each}.txt.xz", "rb") as stream:
                    share = int(1e6 * options.megabytes / len(names))
                    for target, size in ((fitted, share), (unseen, share // 5)):
                        target.write(stream.read(size).decode("utf-8", "ignore") + "\n")
        for kind, size in product(options.kinds.split(","), map(int, options.sizes.split(","))):
            known = [row for row in rows if (row["kind"], row["size"]) == (kind, size)]
            row = known[0] if known else measure(folder / f"{kind}-{size}", kind, size, corpus, beyond, options)
            if not known:
                rows.append(row)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1) + "\n")
            print(
                f"{size:6,} {kind:11} distilled in{row['seconds']:6.1f} s  documents {row['different_documents']:,} of "
                f"{row['documents']:,}  pretokens {row['mismatched_types']:,} of {row['types']:,} "
                f"{row['causes'] or ''}  unseen text {row['unseen_per_million']:.1f} per million  ids {row['ids']:,}  "
                f"runs {row['different_runs']:,} of {row['runs']:,}  adversarial {row['adversarial']} % equal"
                + ("" if row["honest"] else "  NOT ALL NAMED"),
                flush=True,
            )
    if not all(row["honest"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
