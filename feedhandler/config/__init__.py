"""The configuration: reading it, everything that can be wrong with it, and what each worker is told."""
