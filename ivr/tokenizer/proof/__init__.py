"""Is a Unigram model right on every string? THEOREM.md, the worst case as a longest walk, an independent checker."""
