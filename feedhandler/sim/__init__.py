"""The simulated Bybit: a V5 WebSocket server on loopback."""
