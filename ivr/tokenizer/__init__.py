"""Merge trees, bonuses, the Unigram tokenizer and its reassignment; stages `distill-tokenizer`, `select`, `remap`."""
