"""Repeats of one unit (`aaaa`, `hahaha`), which no scores can order: where BPE cuts them, as tables and pattern."""
