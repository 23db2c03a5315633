"""Byte strings to ids: the byte alphabet, BPE and Unigram as arrays and compiled loops. No files, no stages."""
