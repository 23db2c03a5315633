"""Fine-tuning the aligned model; stage `train`."""
