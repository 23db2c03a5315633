"""Carrying the swaps out in the distilled tokenizer, and the rules that say so; stage `remap`."""
