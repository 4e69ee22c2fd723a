"""The strategy's side: `subscriber` (sockets and waiting), `truth` and `track` (what is told, pure), `record`."""
