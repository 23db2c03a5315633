"""Merge weights, from which a Unigram token's score is summed: constraints on them, and what a file can hold."""
