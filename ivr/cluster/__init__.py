"""Sending stages to a Slurm cluster: profile, submission, the job itself, its states."""
