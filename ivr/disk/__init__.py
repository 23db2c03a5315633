"""What lies on a disk: what was written by whom, what may be removed, two names that are exchanged, hashes."""
