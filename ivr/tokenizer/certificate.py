"""certificate.json: what was compared between the base and the distilled tokenizer, and each mismatch by name."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ivr.analysis.tables import PretokenTable
from ivr.encoding.bpe import read_bpe
from ivr.tokenizer.bonuses import EXACT_IN_FILE, cause_of, merge_difference
from ivr.tokenizer.comparison import Mismatch, compare_pretokens, compare_vocabularies
from ivr.tokenizer.cutting import Distillation

FORMAT = 1
SCORE = "score"  # a mismatch that scores could mend but the fit did not see


def build_certificate(
    base: Tokenizer,
    result: Tokenizer,
    table: PretokenTable,
    distillation: Distillation,
    on_batch: Callable[[int], None],
    hashes: tuple[str, str],
) -> dict[str, Any]:
    """Compare the two on every pretoken and every id, through the `tokenizers` library; returns the certificate."""
    vocabulary = compare_vocabularies(base, result)
    found = list(compare_pretokens(base, result, table.pretokens, table.counts_P, on_batch))
    name_cause = _cause_namer(base)
    causes = [name_cause(mismatch) for mismatch in found]
    occurrences = int(table.counts_P.sum())
    wrong = sum(mismatch.count for mismatch in found)
    corpus = {
        "types": len(table),
        "occurrences": occurrences,
        "mismatched_types": len(found),
        "mismatched_occurrences": wrong,
        "agreement_percent": round(100 * (1 - wrong / max(occurrences, 1)), 6),
        "causes": dict(sorted(Counter(causes).items())),
    }
    same = vocabulary.num_ids - len(vocabulary.different_encodings)
    return {
        "format": FORMAT,
        "summary": (
            f"{corpus['agreement_percent']:.4f} % of {occurrences:,} pretoken occurrences ({len(table):,} distinct) "
            f"are encoded to the same ids; {len(found):,} distinct pretokens differ. {same:,} of "
            f"{vocabulary.num_ids:,} tokens encode alike, {len(vocabulary.different_strings)} ids differ in string, "
            f"{len(vocabulary.different_decodings)} in decoding."
        ),
        "base_tokenizer_sha256": hashes[0],
        "result_tokenizer_sha256": hashes[1],
        "fit": {
            "rounds": distillation.fit.rounds,
            "constraints": len(distillation.fit.constraints),
            "largest_score": int(distillation.fit.scores_V.max()),
            "run_units": distillation.units,
            "run_contexts": distillation.contexts,
            "short_numbers": distillation.numbers_fitted,
            "largest_exact_score": EXACT_IN_FILE,
        },
        "corpus": corpus,
        "vocabulary": {
            "ids": vocabulary.num_ids,
            "different_strings": vocabulary.different_strings,
            "different_decodings": vocabulary.different_decodings,
            "different_encodings": [
                {"id": token_id, "token": base.id_to_token(token_id)} for token_id in vocabulary.different_encodings
            ],
            "not_to_themselves": vocabulary.not_to_themselves,
        },
        "mismatches": [
            {
                "pretoken": mismatch.pretoken,
                "count": mismatch.count,
                "cause": cause,
                "bpe": [base.id_to_token(token_id) for token_id in mismatch.first],
                "unigram": [base.id_to_token(token_id) for token_id in mismatch.second],
            }
            for mismatch, cause in zip(found, causes, strict=True)
        ],
    }


def _cause_namer(base: Tokenizer) -> Callable[[Mismatch], str]:
    bpe = read_bpe(base)
    starts, ranks = bpe.derivations()

    def name(mismatch: Mismatch) -> str:
        first, second = np.array(mismatch.first), np.array(mismatch.second)
        return cause_of(merge_difference(first, second, starts, ranks)) or SCORE

    return name
