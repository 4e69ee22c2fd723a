"""The strategy's side."""
