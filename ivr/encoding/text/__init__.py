"""What happens to a text before BPE's merges: normalizers, and byte symbols that a vocabulary lacks."""
