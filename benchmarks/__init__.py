"""Us beside a peer, in turn, in one process tree: each prints us, the peer and the ratio."""
