from __future__ import annotations

import socket

from edge.service.listening import address_of, open_socket
from edge.settings import Address


def test_an_answer_in_two_writes_waits_for_no_acknowledgement() -> None:
    wanted = Address("127.0.0.1", 0)
    with open_socket(wanted) as listener:
        where = address_of(listener, wanted)
        with socket.create_connection((where.host, where.port)):
            connection, _ = listener.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
