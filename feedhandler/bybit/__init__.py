"""What we know of Bybit V5: endpoints and limits, topics, operations, messages. Pure: no I/O, no clock."""
