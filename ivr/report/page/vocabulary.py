"""What became of the vocabulary, as sections: the swaps, where they lay in the corpus, their rows."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths
from ivr.base.model_files import SAFETENSORS
from ivr.report.figures import rank_counts, read_rules_of, swapped_ids, vocabulary_of, whole_number
from ivr.report.page.parts import (
    Block,
    Cell,
    Column,
    Figure,
    Missing,
    Note,
    Pictures,
    Section,
    Shown,
    Table,
    Token,
    Tokens,
)
from ivr.report.page.plots import norms, rank_frequency
from ivr.report.page.segmentation import segmentation
from ivr.report.rows import RowChange, all_norms, embedding_name, read_matrix, row_changes

if TYPE_CHECKING:
    from ivr.tokenizer.remap.rules import Swap

WITH_NEIGHBOURS = 100  # new tokens whose neighbours are looked for: those that save the most tokens
LONGEST_FIGURE = 30  # a table that was edited may hold 1e300
# column of replacement_candidates.csv -> heading, whether it is a figure
SWAP_COLUMNS = {
    "old_id": ("id", True),
    "old_token": ("dropped", False),
    "old_count": ("its count", True),
    "new_token": ("added", False),
    "words": ("words", True),
    "new_count": ("its count", True),
    "tokens_saved": ("tokens saved", True),
    "tokens_lost": ("tokens lost", True),
    "reason": ("reason", False),
}
SWAPS_NOTE = (
    "All reassigned ids, those that save most first. Counts and tokens are of the corpus; tokens lost: where the "
    "dropped token stood, its text takes so many more (below 0: fewer). ␣ is a blank; angle brackets hold a part of a "
    "character."
)
FILES_ONLY = ("reason",)  # the figures of the row in words
Swaps = Sequence[Mapping[str, str]]


def vocabulary_sections(paths: ArtifactPaths, swaps: Swaps) -> list[Section]:
    """Held-out lines, the swaps, the curve of ranks."""
    rules = read_rules_of(paths)
    lines = segmentation(paths, rules)
    note = (
        "Borders stand between tokens; new tokens are coloured and underlined, and say what they are when pointed at "
        "or focused. A raised number counts the tokens that share one character. Of the first documents, one line "
        "each: the three that lost the most tokens, then the first three that are left."
    )
    return [
        Section("lines", "Held-out lines, before and after", [lines], note),
        Section("swaps", "Swaps", [_swap_table(paths, swaps, rules)], SWAPS_NOTE),
        Section("ranks", "Where the reassigned ids lay", _ranks(paths, swaps)),
    ]


def _swap_table(paths: ArtifactPaths, swaps: Swaps, rules: "Mapping[int, Swap]") -> Block:
    if not swaps:
        return Missing("select")
    named = {name: about for name, about in SWAP_COLUMNS.items() if name in swaps[0]}
    columns = [
        Column(name, heading, figure, files_only=name in FILES_ONLY) for name, (heading, figure) in named.items()
    ]
    names = vocabulary_of(paths.original_tokenizer) if rules else {}
    rows = []
    for row in swaps:
        cells = [_swap_cell(name, row.get(name) or "") for name in named]
        if rules:
            token_id = whole_number(row.get("old_id"))
            swap = None if token_id is None else rules.get(token_id)
            pieces = [Token(names.get(piece, "")) for piece in swap.pieces] if swap else []
            cells.insert(list(named).index("new_token") + 1, Tokens(pieces))
        rows.append(cells)
    if rules:
        columns.insert(list(named).index("new_token") + 1, Column("pieces", "before, in pieces"))
    return Table("swaps", f"The {len(swaps):,} swaps", columns, rows, searchable=True)


def _swap_cell(name: str, value: str) -> Cell:
    if name.endswith("_token"):
        return Token(value)
    if SWAP_COLUMNS[name][1]:
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
            shown = value if name == "old_id" else f"{number:,.0f}"[:LONGEST_FIGURE]
            return Shown(int(number) if number.is_integer() and abs(number) < 2**53 else number, shown)
    return value


def _ranks(paths: ArtifactPaths, swaps: Swaps) -> list[Block]:
    found = rank_counts(paths, swapped_ids(swaps))
    if found is None:
        return [Missing("analyze")]
    blocks: list[Block] = []
    unused = len(swaps) - len(found.dropped)
    if unused > 0:
        text = f"{unused:,} of the {len(swaps):,} reassigned ids did not occur in the corpus at all."
        blocks.append(Note(text))
    added = [count for row in swaps if (count := whole_number(row.get("new_count"))) is not None]
    blocks.append(Pictures([rank_frequency(found.counts, found.dropped, added)]))
    dropped = set(found.dropped)
    rows: list[list[Cell]] = [
        [Figure(rank), Figure(token_id), Token(token), Figure(count), "dropped" if rank in dropped else "kept"]
        for rank, (token_id, token, count) in enumerate(
            zip(found.ids, found.tokens, found.counts, strict=True), start=1
        )
    ]
    columns = [
        Column("rank", "rank", True),
        Column("token_id", "id", True),
        Column("token", "token"),
        Column("count", "count", True),
        Column("state", "state"),
    ]
    return [*blocks, Table("rank_frequency", "Tokens by frequency", columns, rows, in_files_only=True, csv_only=True)]


def rows_sections(paths: ArtifactPaths, swaps: Swaps) -> list[Section]:
    """Norms and neighbours of the new rows; nothing before there is an aligned model."""
    aligned = paths.aligned_model / SAFETENSORS
    noted = paths.embeddings / "original_wte.json"
    rules = read_rules_of(paths)
    names = vocabulary_of(paths.remapped_tokenizer)
    if not (aligned.is_file() and noted.is_file() and rules and names):
        return []
    heading = "New rows, before and after training"
    if not (paths.final_model / SAFETENSORS).is_file():
        return [Section("rows", heading, [Missing("train")])]
    tensor = embedding_name(paths)
    before = read_matrix(paths.aligned_model, tensor, "run `ivr align` again")
    after = read_matrix(paths.final_model, tensor, "run `ivr train` again")
    num_tokens = max(names) + 1
    if min(len(before), len(after)) < num_tokens or before.values_VD.shape != after.values_VD.shape:
        text = "The aligned and the trained model are not of one size: `ivr train` has not run since `ivr align`."
        return [Section("rows", heading, [Note(text, warning=True)])]
    order = [token_id for token_id in swapped_ids(swaps) if token_id in rules]
    ids = [*order, *sorted(set(rules) - set(order))]
    if not ids:
        return []
    changes = row_changes(before, after, ids, ids[:WITH_NEIGHBOURS], num_tokens)
    kept = all_norms(after, num_tokens)
    mask = [token_id for token_id in range(num_tokens) if token_id not in rules]
    groups = {
        "kept rows": kept[mask].tolist(),
        "new, before training": [change.norm_before for change in changes],
        "new, after": [change.norm_after for change in changes],
    }
    shown = {name: values for name, values in groups.items() if values}
    note = (
        "Rows of the input embeddings. Neighbours are the tokens whose rows have the largest cosine; looked for those "
        f"{min(len(ids), WITH_NEIGHBOURS):,} new tokens that save the most tokens."
    )
    return [Section("rows", heading, [Pictures([norms(shown)]), _neighbours(changes, names)], note)]


def _neighbours(changes: Sequence[RowChange], names: Mapping[int, str]) -> Table:
    rows: list[list[Cell]] = []
    for change in changes:
        nearest = [
            Tokens([Token(names.get(token_id, "")) for token_id, _ in found])
            for found in (change.nearest_before, change.nearest_after)
        ]
        rows.append(
            [
                Token(names.get(change.id, "")),
                Shown(change.id, str(change.id)),
                Figure(round(change.norm_before, 6), ".3f"),
                Figure(round(change.norm_after, 6), ".3f"),
                Figure(None if change.cosine is None else round(change.cosine, 6), ".3f"),
                *nearest,
            ]
        )
    columns = [
        Column("token", "new token"),
        Column("id", "id", True),
        Column("norm_before", "norm before", True),
        Column("norm_after", "after", True),
        Column("cosine", "cosine of both", True),
        Column("nearest_before", "nearest before"),
        Column("nearest_after", "nearest after"),
    ]
    return Table(
        "new_rows", "New rows before and after training", columns, rows, searchable=True, shown=WITH_NEIGHBOURS
    )
