"""What a run came to, read back from its manifests, and the short summary of it. What is missing stays missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.manifest import Manifest
from ivr.report.status import read_manifests

MODELS = {"base": "before (base model)", "aligned": "after alignment", "trained": "after training"}
CONTROLS = {"control-bytes": "no swaps, same bytes", "control-flops": "no swaps, same FLOPs"}
TEXTS = {"domain": "domain", "general": "general"}


@dataclass(frozen=True)
class Run:
    """The manifests of one artifacts directory."""

    paths: ArtifactPaths
    manifests: Mapping[str, Manifest]

    def result(self, stage: str, key: str) -> Any:
        """A figure that `stage` reported, or None."""
        manifest = self.manifests.get(stage)
        return None if manifest is None else manifest.results.get(key)

    def option(self, stage: str, key: str) -> Any:
        """The value an option of `stage` had, or None."""
        manifest = self.manifests.get(stage)
        return None if manifest is None else manifest.config.get(key)

    @property
    def base_model(self) -> str:
        return str(self.option("init", "model_name") or "base model unknown")

    @property
    def title(self) -> str:
        """The base model and the number of reassigned ids, where it is known."""
        swaps = self.result("select", "swaps")
        return self.base_model if swaps is None else f"{self.base_model}, {swaps:,} reassigned ids"

    def bits_per_byte(self, text: str, model: str) -> float | None:
        """Held-out bits per byte of `model` (base, aligned, trained) on `text` (domain, general)."""
        value = ((self.result("evaluate", "bits_per_byte") or {}).get(text) or {}).get(model)
        return None if value is None else float(value)

    @property
    def texts(self) -> list[str]:
        """The held-out texts that were measured."""
        return [text for text in TEXTS if any(self.bits_per_byte(text, model) is not None for model in MODELS)]


def read_run(paths: ArtifactPaths) -> Run:
    """Everything the manifests say, but for the report's own: it must not change the next report."""
    manifests = read_manifests(paths)
    manifests.pop("report", None)
    return Run(paths, manifests)


def agreement(run: Run) -> tuple[float, int, int, int] | None:
    """Agreement of the distilled tokenizer: percent of occurrences, occurrences, mismatched types, all types."""
    keys = ("agreement_percent", "occurrences", "mismatched_types", "types")
    found = [run.result("distill-tokenizer", key) for key in keys]
    return None if None in found else (float(found[0]), int(found[1]), int(found[2]), int(found[3]))


def verified(run: Run) -> str | None:
    """What `ivr verify` said of the distilled tokenizer and the original, or None where it has not compared these."""
    manifest = run.manifests.get("verify")
    if manifest is None or manifest.config.get("tokenizer") or manifest.config.get("against"):
        return None
    found = manifest.results
    parts = []
    if (documents := _all_of(found, "different_documents", "documents")) is not None:
        parts.append("{:,} of {:,} documents differ".format(*documents))
    if found.get("runs") and (runs := _all_of(found, "different_runs", "runs", "longest_run")) is not None:
        parts.append("{:,} of {:,} runs to length {}".format(*runs))
    if found.get("adversarial_strings") and found.get("adversarial_equal_percent") is not None:
        share = percent(found["adversarial_equal_percent"], 2)
        parts.append(f"{share} of {found['adversarial_strings']:,} adversarial strings are equal")
    if not parts:
        return None
    return "verified from scratch: " + ", ".join(parts)


def _all_of(found: Mapping[str, Any], *keys: str) -> list[Any] | None:
    """The figures of these names, or None where one is missing."""
    return [found[key] for key in keys] if all(found.get(key) is not None for key in keys) else None


def tokens_saved(run: Run) -> tuple[int, int, float] | None:
    """Tokens of the held-out domain text: before, after, percent saved."""
    before, after = (run.result("evaluate", f"heldout_tokens_{when}") for when in ("before", "after"))
    if not before or after is None:
        return None
    return int(before), int(after), 100 * (before - after) / before


def percent(value: float, digits: int = 3) -> str:
    """A percentage that says 100 only when nothing is missing: 99.9999 is not rounded up."""
    text = f"{value:.{digits}f}"
    if float(text) == 100 and value < 100:
        text = f"{100 - 10**-digits:.{digits}f}"
        return f"> {text} %"
    return f"{text} %"


def summary_text(run: Run) -> str:
    """The summary that ends `make pipeline`; ends with a line end."""
    lines = [title := run.title, "=" * len(title), "", "Agreement of the distilled tokenizer"]
    if (found := agreement(run)) is None:
        lines.append(_missing("distill-tokenizer"))
    else:
        share, occurrences, mismatched, types = found
        lines.append(
            f"  {percent(share)} of {occurrences:,} pretokens; {mismatched:,} of {types:,} distinct ones differ"
        )
    if (heldout := run.result("evaluate", "agreement_percent")) is not None:
        lines.append(f"  {percent(heldout)} of the pretokens of held-out domain text")
    if (checked := verified(run)) is not None:
        lines.append(f"  {checked}")
    lines += ["", "Tokens on held-out domain text"]
    if (saved := tokens_saved(run)) is None:
        lines.append(_missing("evaluate"))
    else:
        lines.append(f"  {saved[0]:,} before, {saved[1]:,} after: {saved[2]:.1f} % saved")
    lines += ["", "Bits per byte on held-out text (lower is better)"]
    if not run.texts:
        lines.append(_missing("evaluate"))
    else:
        lines.append(f"  {'':<22}" + "".join(f"{TEXTS[text]:>10}" for text in run.texts))
        there = [name for name in CONTROLS if any(run.bits_per_byte(text, name) is not None for text in run.texts)]
        for model, name in [*MODELS.items(), *((name, CONTROLS[name]) for name in there)]:
            cells = [run.bits_per_byte(text, model) for text in run.texts]
            lines.append(f"  {name:<22}" + "".join(f"{'-' if cell is None else f'{cell:.4f}':>10}" for cell in cells))
    lines += [*_differences(run), *_prompt_ends(run), *_written(run)]
    return "\n".join(lines) + "\n"


def where_to_look(paths: ArtifactPaths) -> str:
    """The paths that are printed behind the summary, of the run where it lies now: it may have been moved."""
    lines = ["", "Where to look"]
    for what, path in (
        ("report", paths.report / "index.html"),
        ("model and tokenizer", paths.final_model),
        ("remapped tokenizer", paths.remapped_tokenizer),
        ("certificate", paths.certificate),
        ("why these swaps", paths.selection_log),
    ):
        lines.append(f"  {what:<22}{path}")
    return "\n".join(lines)


COMPARED = (
    ("domain", "domain, trained less base", "trained - base"),
    ("general", "general, the same", "trained - base"),
    ("domain", "less no swaps, same bytes", "trained - control-bytes"),
    ("domain", "less no swaps, same FLOPs", "trained - control-flops"),
)


def _differences(run: Run) -> list[str]:
    """After training less before it, on each text, with the interval; on general text it is what was forgotten."""
    lines = []
    for text, what, pair in COMPARED:
        one = ((run.result("evaluate", "differences") or {}).get(text) or {}).get(pair)
        if one is not None:
            ends = (
                ""
                if None in (one["low"], one["high"])
                else f"  (95 % interval {one['low']:+z.4f} to {one['high']:+z.4f})"
            )
            lines.append(f"  {what:<26}{one['difference']:+z.4f}{ends}")
    return lines


def _prompt_ends(run: Run) -> list[str]:
    """What the trained model loses where a prompt of the domain ends inside a token; empty where none does."""
    one = ((run.result("evaluate", "prompt_ends") or {}).get("domain") or {}).get("trained")
    if not one or not one["inside"]:
        return []
    prompt, whole = one["inside"]["as_prompt"], one["inside"]["as_whole_text"]
    return [
        f"  {one['cuts_inside_a_token']:,} of {one['cuts']:,} prompts end inside a token: "
        f"{prompt:.4f} behind them, {whole:.4f} encoded with them"
    ]


def _written(run: Run) -> list[str]:
    """New tokens in what the trained model writes, and how many bytes a token of it makes."""
    written = run.result("evaluate", "sampling") or {}
    one = written.get("trained")
    lines = []
    new = [one.get(f"new_token_share_{where}") for where in ("sampled", "in_text")] if one else []
    if new and None not in new:
        shares = [percent(100 * share, 1) for share in new]
        lines.append(f"  new tokens {shares[0]} of its tokens ({shares[1]} of held-out text)")
    if "trained" in written and "base" in written:
        after, before = (written[name]["bytes_per_token"] for name in ("trained", "base"))
        lines.append(f"  {after:.2f} bytes a token, the base model {before:.2f}")
    return ["", "What the trained model writes", *lines] if lines else []


def _missing(stage: str) -> str:
    return f"  missing: run `ivr {stage}`"
