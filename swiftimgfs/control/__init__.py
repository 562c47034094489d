"""A running mount as somebody sees it from outside: reports, the socket, metrics."""
