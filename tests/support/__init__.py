"""What several tests share: processes, sockets, frames."""
