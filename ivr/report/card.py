"""Completes the card of the trained model by what was measured since, where nobody has edited it."""

from pathlib import Path

from ivr.base.model_files import CARD
from ivr.card.facts import CardFacts, training_rows
from ivr.card.model_card import model_card
from ivr.console import LOG
from ivr.disk.digest import sha256_file
from ivr.disk.ownership import read_record, record_file
from ivr.disk.writer import write_text
from ivr.encoding.byte_alphabet import readable
from ivr.manifest import Manifest
from ivr.report.figures import read_swaps
from ivr.report.summary import Run

COPY = "model_card.md"
SHOWN_TOKENS = 20


def write_card(run: Run, previous: Manifest | None) -> tuple[list[Path], list[Path]]:
    """Write the card as report/model_card.md, and as training/final/README.md where that is still one of ours.

    previous: the manifest of the report before this one. Returns what was written: (the copy, the model's own).
    """
    folder, train = run.paths.final_model, run.manifests.get("train")
    if train is None or not folder.is_dir():
        return [], []
    text = model_card(folder, _facts(run, train))
    copy, card = run.paths.report / COPY, folder / CARD
    write_text(copy, text)
    if not _is_ours(run, train, previous):
        return [copy], []
    record_file(folder, CARD, text.encode())
    write_text(card, text)
    return [copy], [card]


def _is_ours(run: Run, train: Manifest, previous: Manifest | None) -> bool:
    """Whether the model's card is one that `train` or a report wrote; says so where it is not."""
    card = run.paths.final_model / CARD
    name = str(card.relative_to(run.paths.root))
    rows = [row for made in (train, previous) if made is not None for row in made.outputs if row.path == name]
    if not any(row.editable for row in rows):
        LOG.info("report: %s stays as it is: no `ivr train` of this version wrote it", card)
        return False
    if not card.exists():
        return True
    noted = (read_record(run.paths.final_model) or {}).get(CARD, {}).get("sha256")
    if sha256_file(card) in {noted, *(row.sha256 for row in rows)}:
        return True
    LOG.warning("report: %s was edited and stays; the one with the figures is %s", card, run.paths.report / COPY)
    return False


def _facts(run: Run, train: Manifest) -> CardFacts:
    """Of a model or text from elsewhere the stages before `train` know nothing."""
    rows, loads = training_rows(train.results), str(train.results.get("tokenizer_class") or "AutoTokenizer")
    if train.config.get("model_name") or train.config.get("cleaned_corpora_dir"):
        kept = {stage: manifest for stage, manifest in run.manifests.items() if stage == "evaluate"}
        return CardFacts(kept, rows, tokenizer_class=loads)
    tokens = [readable(row.get("new_token") or "") for row in read_swaps(run.paths)[:SHOWN_TOKENS]]
    return CardFacts(run.manifests, rows, [token for token in tokens if token], loads)
