"""The data plane: one process holds the WebSockets of one endpoint and publishes what arrives."""
