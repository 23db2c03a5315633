"""certificate.json: what was compared between the base and the distilled tokenizer, and each mismatch by name."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ivr.analysis.pretokens import pretoken_encoder
from ivr.analysis.tables import PretokenTable
from ivr.disk.digest import sha256_file
from ivr.encoding.batch import Batch, chunks
from ivr.encoding.bpe import read_bpe
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.encoding.string_table import StringTable
from ivr.encoding.text.missing_bytes import named
from ivr.encoding.text.tokenizer_file import load_tokenizer
from ivr.errors import CorruptInputError
from ivr.tokenizer.distill.certificate_checks import quick_checks
from ivr.tokenizer.distill.pipeline import Distillation
from ivr.tokenizer.distill.score_gaps import gaps_report
from ivr.tokenizer.distill.taken_whole import report
from ivr.tokenizer.proof.checker import NAME as PROOF
from ivr.tokenizer.proof.checker import check_files
from ivr.tokenizer.scores.merge_counts import merge_differences, segmentations
from ivr.tokenizer.scores.merge_weights import EXACT_IN_FILE
from ivr.tokenizer.unigram_file import EXACT
from ivr.tokenizer.verify.added_tokens import differences
from ivr.tokenizer.verify.comparison import Mismatch, compare_pretokens, compare_vocabularies

FORMAT = 4
LONGEST_SHOWN, TOKENS_SHOWN = 1000, 40  # characters of a mismatch that is listed whole; tokens of a longer one
SCORE = "score"  # a mismatch that scores could mend but the fit did not see


@dataclass(frozen=True)
class Compared:
    """What the two tokenizers are compared on."""

    base_file: Path  # tokenizer.json
    result_file: Path
    table: PretokenTable  # of the corpora
    earlier: Sequence[str] = ()  # pretokens of earlier text that are not in the table
    corpora: Sequence[Path] = ()  # directories of cleaned text
    files: Sequence[dict[str, Any]] = ()  # path, sha256 and bytes of each file the table was made of
    documents: int | None = None  # in these files


def build_certificate(
    compared: Compared, distillation: Distillation, on_batch: Callable[[int], None]
) -> dict[str, Any]:
    """Compare the two on every pretoken and every id, through the `tokenizers` library; returns the certificate."""
    # what is certified is the file, read back
    base, result = (load_tokenizer(file) for file in (compared.base_file, compared.result_file))
    table, earlier = compared.table, list(compared.earlier)
    vocabulary = compare_vocabularies(base, result)
    found = list(compare_pretokens(base, result, table.pretokens, table.counts_P, on_batch))
    found_earlier = list(compare_pretokens(base, result, earlier, np.zeros(len(earlier), np.int64), on_batch))
    name_cause = _cause_namer(base)
    rows = [_row(base, mismatch, name_cause(mismatch)) for mismatch in found]
    occurrences = int(table.counts_P.sum())
    wrong = sum(mismatch.count for mismatch in found)
    corpus = {
        "types": len(table),
        "occurrences": occurrences,
        "mismatched_types": len(found),
        "mismatched_occurrences": wrong,
        "agreement_percent": round(100 * (1 - wrong / max(occurrences, 1)), 6),
        "causes": dict(sorted(Counter(row["cause"] for row in rows).items())),
    }
    certificate = {
        "format": FORMAT,
        "base_tokenizer_sha256": sha256_file(compared.base_file),
        "result_tokenizer_sha256": sha256_file(compared.result_file),
        "fit": {
            "rounds": distillation.fit.rounds,
            "constraints": len(distillation.fit.constraints),
            "prior_exponent": round(distillation.exponent, 3),
            "largest_score": int(distillation.fit.scores_V.max()),
            "run_units": distillation.units,
            "run_contexts": distillation.contexts,
            "short_numbers": distillation.numbers_fitted,
            "largest_exact_score": EXACT_IN_FILE,
        },
        "corpora": {"documents": compared.documents, "files": list(compared.files)},
        "corpus": corpus,
        "earlier_text": {"types": len(earlier), "mismatched_types": len(found_earlier)},
        **_dropped(base, table),
        **({"taken_whole": report(distillation.inside)} if distillation.inside else {}),
        "vocabulary": {
            "ids": vocabulary.num_ids,
            "different_strings": vocabulary.different_strings,
            "different_decodings": vocabulary.different_decodings,
            "different_encodings": [
                {"id": token_id, "token": base.id_to_token(token_id)} for token_id in vocabulary.different_encodings
            ],
            "not_to_themselves": vocabulary.not_to_themselves,
        },
        "margins": _margins(base, result, table, distillation),
        **quick_checks(compared.base_file, compared.result_file, compared.corpora),
        # a proof for all strings, where there is one
        "universal_proof": _universal(compared, distillation),
        "mismatches": rows + [_row(base, mismatch, name_cause(mismatch)) for mismatch in found_earlier],
    }
    return {"summary": summary(certificate), **certificate}


def _universal(compared: Compared, distillation: Distillation) -> dict[str, Any]:
    """What is proved of strings that were not compared; a proof counts when its file passes the checker."""
    entry = distillation.universal.entry()
    if not distillation.proofs:
        return entry
    verdicts = check_files(compared.base_file, compared.result_file, compared.result_file.parent / PROOF)
    for name, verdict in verdicts.items():
        if not verdict.accepted:
            raise CorruptInputError(f"{PROOF}, {name}, was refused: {verdict.reason}; please report this tokenizer")
    checked = {name: verdict.inequalities for name, verdict in verdicts.items()}
    return {**entry, "file": PROOF, "inequalities_checked": checked}


def summary(certificate: dict[str, Any]) -> str:
    """One paragraph for a reader."""
    corpus, vocabulary, earlier = certificate["corpus"], certificate["vocabulary"], certificate["earlier_text"]
    documents, runs, hard = certificate["documents"], certificate["runs"], certificate["adversarial"]
    margins, added = certificate["margins"], certificate["added_tokens"]
    same = vocabulary["ids"] - len(vocabulary["different_encodings"])
    sentences = [
        f"{corpus['agreement_percent']:.4f} % of {corpus['occurrences']:,} pretoken occurrences "
        f"({corpus['types']:,} distinct) are encoded to the same ids; {corpus['mismatched_types']:,} distinct "
        "pretokens differ.",
        f"{same:,} of {vocabulary['ids']:,} tokens encode alike, {len(vocabulary['different_strings']):,} ids differ "
        f"in string, {len(vocabulary['different_decodings']):,} in decoding.",
        f"Of {documents['documents']:,} whole documents {documents['different_documents']:,} differ in ids and "
        f"{documents['different_decodings']:,} in decoding.",
        f"Of {runs['strings']:,} runs {runs['mismatched']:,} differ (to length {runs['max_length']} alone and beside "
        f"one character that shares a token, {runs['beside_two_neighbours']} between two{_left_out(runs)}), of "
        f"{hard['strings']:,} adversarial strings (seed {hard['seed']}) {hard['strings'] - hard['equal']:,}.",
        f"Around {added['added_tokens']:,} added tokens {differences(added):,} of {added['comparisons']:,} comparisons "
        "differ in ids, offsets or decoding.",
        f"The best segmentation of a pretoken scores at least {margins['smallest']} more than the second best, but for "
        f"{margins['ties']:,} ties that the library's own rule decides; the largest score of one is "
        f"{margins['largest_score_of_a_string'] / EXACT:.0%} of 2^53, to which sums are exact.",
        *_with_whole(certificate.get("taken_whole")),
        *_with_dropped(certificate.get("dropped_bytes")),
        *_beyond_exact_sums(margins["strings_beyond_exact_sums"]),
        _other_strings(certificate["universal_proof"]),
        "`ivr verify` compares all documents, longer runs and more strings, from scratch.",
    ]
    if earlier["types"]:
        kept = f"Of {earlier['types']:,} distinct pretokens of earlier text {earlier['mismatched_types']:,} differ."
        sentences.insert(1, kept)
    return " ".join(sentences)


def _with_whole(whole: dict[str, int] | None) -> list[str]:
    """What to know where pretokens that are tokens are taken whole though merges do not make them."""
    if not whole:
        return []
    return [
        f"{whole['tokens']:,} tokens are given for pretokens that are the token (ignore_merges) and made by no merges: "
        f"longer pretokens that hold one are split inside it, but beside {whole['not_split_beside']:,} characters and "
        "strings; there, and in longer strings that no text showed, scores decide. Where such a split leaves a string "
        "that is itself such a token, and a repeat, it is given, which BPE would not do."
    ]


def _dropped(base: Tokenizer, table: PretokenTable) -> dict[str, Any]:
    """The bytes that have no id, and how many pretokens of the corpus hold one; nothing where every byte has one."""
    lacking = read_bpe(base).missing
    if not lacking:
        return {}
    rows = [row for row, text in enumerate(table.pretokens) if not lacking.isdisjoint(text.encode())]
    occurrences = int(table.counts_P[rows].sum())
    return {"dropped_bytes": {"bytes": named(lacking), "types": len(rows), "occurrences": occurrences}}


def _with_dropped(dropped: dict[str, Any] | None) -> list[str]:
    """What to know where bytes have no id."""
    if not dropped:
        return []
    return [
        f"The bytes {dropped['bytes']} have no id and are dropped, as by the base ({dropped['occurrences']:,} pretoken "
        f"occurrences of the corpus hold one): behind them the base's offsets are too small, these are not; where the "
        "first byte of a character is dropped (U+40000 and beyond), the base may merge the rest with the character "
        "before, which is not followed."
    ]


def _beyond_exact_sums(strings: int) -> list[str]:
    """What to know where sums of scores are rounded."""
    if not strings:
        return []
    return [
        f"{strings:,} very long pieces score more: the library rounds their sums, so that they are right as far as "
        "they were compared, and others of such lengths need not be."
    ]


def _left_out(runs: dict[str, Any]) -> str:
    left_out = runs["pairs_left_out"]
    return f"; {left_out:,} pairs are left out, but each such character is in others" if left_out else ""


def _other_strings(universal: dict[str, Any]) -> str:
    if universal["proved"]:
        return f"Equality is proved for {universal['strings']} ({universal['file']})."
    others = f"Equality on strings that were not compared is {universal['others']}."
    if "file" not in universal:
        return others
    proved = ", ".join(f"of {name}" for name in universal["inequalities_checked"])
    return (
        f"{others} But where a piece is made {proved}, it is proved for {universal['strings']} ({universal['file']})."
    )


def _row(base: Tokenizer, mismatch: Mismatch, cause: str) -> dict[str, Any]:
    """A mismatch by name; a count of 0: of earlier text. Of a very long one what stands at the first difference."""
    pretoken, sides = mismatch.pretoken, (mismatch.first, mismatch.second)
    if len(pretoken) > LONGEST_SHOWN:
        pretoken = f"{pretoken[:LONGEST_SHOWN]} ... ({len(pretoken):,} characters)"
        same = next((at for at, pair in enumerate(zip(*sides, strict=False)) if pair[0] != pair[1]), 0)
        sides = sides[0][same : same + TOKENS_SHOWN], sides[1][same : same + TOKENS_SHOWN]
    bpe, unigram = ([base.id_to_token(token_id) for token_id in side] for side in sides)
    return {"pretoken": pretoken, "count": mismatch.count, "cause": cause, "bpe": bpe, "unigram": unigram}


def _margins(base: Tokenizer, result: Tokenizer, table: PretokenTable, distillation: Distillation) -> dict[str, Any]:
    """Over the distinct pieces that the result's model sees of the corpora's pretokens."""
    split = pretoken_encoder(result).pre_tokenizer.pre_tokenize_str
    seen = StringTable()
    for pretokens in chunks(table.pretokens):
        pieces = Batch.of([from_alphabet(piece) for pretoken in pretokens for piece, _ in split(pretoken)])
        seen.numbers(pieces.data, pieces.starts[1:])
    return gaps_report(seen.strings(), read_bpe(base).token_bytes(), distillation.fit.scores_V)


def _cause_namer(base: Tokenizer) -> Callable[[Mismatch], str]:
    bpe = read_bpe(base)
    starts, ranks = bpe.derivations()

    def name(mismatch: Mismatch) -> str:
        sides = segmentations([mismatch.first]), segmentations([mismatch.second])
        return merge_differences(*sides, starts, ranks).causes()[0] or SCORE

    return name
