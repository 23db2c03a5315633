"""The processes of one training run: starting them, what they are, signals, how they end."""
