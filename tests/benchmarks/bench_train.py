"""`ivr train`'s loop against a bare PyTorch loop: the same model, batches, optimizer and arithmetic, in turn.

    python tests/benchmarks/bench_train.py [--layers 4 --width 256 --vocab 8192] [--pairs 7] [--steps 8] [--json FILE]

The bare loop has its batches ready as tensors, and does forward, loss, backward, clipping, AdamW and the learning
rate, nothing else. Ours is what users run: blocks from the memory map, seeds, masks, logs, checks (but no evaluation
and no checkpoint, which cost what the options say). Prints the paired ratios of the times, of the wall clock and, on a
CPU, of the processor, which does not mind what else the machine does.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
END = "<|endoftext|>"


def write_world(root: Path, options: argparse.Namespace) -> None:
    """A GPT-2 with random weights, a BPE tokenizer and Python's standard library as text, where `train` finds them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel

    from ivr.artifacts import ArtifactPaths
    from ivr.corpus.documents import write_document

    paths = ArtifactPaths(root)
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in sources]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=options.vocab - 1, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens([END])
    config = GPT2Config(
        vocab_size=options.vocab,
        n_positions=options.block_size,
        n_embd=options.width,
        n_layer=options.layers,
        n_head=options.width // 64,
        bos_token_id=options.vocab - 1,
        eos_token_id=options.vocab - 1,
    )
    GPT2LMHeadModel(config).save_pretrained(paths.aligned_model)
    tokenizer.save(str(paths.aligned_model / "tokenizer.json"))
    paths.cleaned_corpora.mkdir(parents=True)
    with (paths.cleaned_corpora / "stdlib.txt").open("w", encoding="utf-8", newline="\n") as stream:
        for text in texts:
            write_document(stream, text)


def our_run(root: Path, options: argparse.Namespace) -> Any:
    """A Run as `ivr train` builds it, that neither evaluates nor saves."""
    from ivr.artifacts import ArtifactPaths
    from ivr.training.feed import tokenise_corpora
    from ivr.training.launch.processes import assemble
    from ivr.training.options import Config
    from ivr.training.setup import Job, build

    config = Config(
        root, batch_size=options.batch_size, threads=options.threads, eval_bytes=0, warmup_steps=0, max_steps=10**6
    )
    paths = ArtifactPaths(root)
    team = assemble(config)
    (key,) = tokenise_corpora(paths.training / "data", paths.aligned_model, [paths.cleaned_corpora], None, lambda: None)
    run = build(config, paths, team, paths.aligned_model, Job("bench", {}, key, None, ()))
    run.metrics.restart()
    run.save = lambda step: paths.training  # type: ignore[method-assign]  # a dataclass's field
    return run


def take_our_steps(run: Any, first: int, count: int) -> None:
    from ivr.training.launch.signals import StopRequest
    from ivr.training.loop import fit

    # the schedule is a function of the step, so the last step may be moved
    ends = dataclasses.replace(run.plan.schedule, max_steps=first + count)
    chunk = dataclasses.replace(run, plan=dataclasses.replace(run.plan, schedule=ends))
    chunk.save = run.save
    with StopRequest() as stop:
        fit(chunk, first, stop)


def bare_loop(root: Path, run: Any) -> Callable[[list[Any]], None]:
    """A function that trains on batches (B, T + 1) already on the device."""
    import torch
    from transformers import AutoModelForCausalLM

    device = run.team.accelerator.device
    model = AutoModelForCausalLM.from_pretrained(root / "models" / "aligned", dtype=torch.float32).to(device).train()
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=5e-4, betas=(0.9, 0.95))
    bf16 = run.team.precision == "bf16"
    products = (lambda: torch.autocast(device.type, torch.bfloat16)) if bf16 else contextlib.nullcontext

    def train(batches: list[Any]) -> None:
        for step, batch_BT in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = 5e-4 * (1 - step * 1e-6)
            with products():
                logits_BTV = model(input_ids=batch_BT[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1).float(), batch_BT[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()

    return train


def timed(work: Callable[[], None], cuda: bool) -> tuple[float, float]:
    """Seconds of the wall clock and of the processor."""
    import torch

    started, cpu = time.perf_counter(), time.process_time()
    work()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started, time.process_time() - cpu


def summary(run: Any, options: argparse.Namespace, pairs: list[tuple[Any, Any]], cuda: bool) -> dict[str, Any]:
    """What is written: `pairs` are (wall clock, processor) seconds of our loop and of the bare one."""
    import torch

    tokens = options.steps * run.plan.blocks_per_step * run.plan.block_size
    wall = [ours[0] / theirs[0] for ours, theirs in pairs]
    cpu = [ours[1] / theirs[1] for ours, theirs in pairs]
    result = {
        "device": torch.cuda.get_device_name() if cuda else f"{options.threads} CPU threads",
        "precision": run.team.precision,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "tokens_per_second": round(tokens / statistics.median(ours[0] for ours, _ in pairs)),
        "bare_tokens_per_second": round(tokens / statistics.median(theirs[0] for _, theirs in pairs)),
        "ratio": round(statistics.median(wall), 4),
        "ratios": [round(ratio, 4) for ratio in wall],
        "cpu_ratio": round(statistics.median(cpu), 4),
        "cpu_ratios": [round(ratio, 4) for ratio in cpu],
    }
    if run.peak is not None:
        result["mfu"] = round(result["tokens_per_second"] * run.flops / run.peak, 4)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("layers", 4),
        ("width", 256),
        ("vocab", 8192),
        ("block-size", 256),
        ("batch-size", 4),
        ("pairs", 7),
        ("steps", 8),
        ("threads", len(os.sched_getaffinity(0))),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    options = parser.parse_args()
    import torch

    from ivr.training.loop import blocks_of_step

    cuda = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_world(root, options)
        run = our_run(root, options)
        bare = bare_loop(root, run)

        def bare_steps(first: int) -> tuple[float, float]:
            device = run.team.accelerator.device
            steps = range(first, first + options.steps)
            batches = [torch.from_numpy(blocks_of_step(run.feed, run.plan, step)).to(device) for step in steps]
            torch.use_deterministic_algorithms(False)
            seconds = timed(lambda: bare(batches), cuda)
            torch.use_deterministic_algorithms(not cuda)
            return seconds

        take_our_steps(run, 0, 2)
        bare_steps(0)
        pairs = []
        for pair in range(options.pairs):
            first = 2 + pair * options.steps
            order = [lambda at=first: timed(lambda: take_our_steps(run, at, options.steps), cuda)]
            order.insert(pair % 2, lambda at=first: bare_steps(at))  # who goes first changes
            seconds = [measure() for measure in order]
            ours, theirs = seconds if pair % 2 else seconds[::-1]
            pairs.append((ours, theirs))
        result = summary(run, options, pairs, cuda)
    print(json.dumps(result, indent=2))
    both = f"{result['ratio']:.3f} by the wall clock, {result['cpu_ratio']:.3f} by the processor's"
    print(f"time of ours to that of the bare loop: {both}, load {os.getloadavg()}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
