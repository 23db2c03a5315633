"""What a stage stands on beside its files: interpreter, devices, locks, and what goes wrong with them."""
