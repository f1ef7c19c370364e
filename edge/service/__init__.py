"""The local service: HTTP on loopback or a Unix socket, everything bounded."""
