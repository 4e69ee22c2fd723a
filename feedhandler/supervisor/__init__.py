"""The control plane: starts workers, gives them topics, restarts them, answers commands."""
