"""Opens the socket that the service listens on: loopback TCP, or a Unix socket.

A Unix socket's file outlives the process that made it: one that nobody answers is replaced, one
that a living process answers is left alone and named in an error. Only the standard library's
``socket`` is imported: the supervisor opens the socket too, and stays small.

What it leaves out: accepting. asyncio does that in the worker, which may have inherited the socket.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from edge.errors import ServiceError
from edge.settings import Address

BACKLOG = 128
"""Connections that the kernel holds while nobody accepts: during a swap, at a burst."""
SOCKET_MODE = 0o660
"""Who may ask over a Unix socket: its owner and its group."""


def open_socket(address: Address) -> socket.socket:
    """Bind and listen.

    Raises:
        ServiceError: The address is in use, not of this machine, or may not be bound.
    """
    if address.path:
        return _open_unix(Path(address.path))
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # a port of a service that just ended can be bound again at once
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # connections inherit it: head and body are two writes, and the second would wait up to
        # 44 ms for the client to acknowledge the first. asyncio sets it only on sockets that name
        # their protocol, which this one does not.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServiceError(_reason(address, error)) from None
    return listener


def address_of(listener: socket.socket, wanted: Address) -> Address:
    """Where the socket that was opened for ``wanted`` listens, its port known.

    A Unix socket was bound beside its path: the kernel knows it by another name.
    """
    if wanted.path:
        return wanted
    name = listener.getsockname()
    return Address(name[0], name[1])


def remove_socket(listener: socket.socket, wanted: Address) -> None:
    """Close the listener, and take a Unix socket's file away: nobody is behind it any more."""
    if wanted.path:
        Path(wanted.path).unlink(missing_ok=True)
    listener.close()


def _open_unix(path: Path) -> socket.socket:
    """Bind beside and rename: whoever looks finds the old socket or one that listens."""
    address = Address("", 0, str(path))
    _refuse_if_taken(path)
    beside = path.with_name(f".{path.name[:40]}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        beside.unlink(missing_ok=True)
        listener.bind(str(beside))
        beside.chmod(SOCKET_MODE)
        listener.listen(BACKLOG)
        beside.replace(path)
    except OSError as error:
        listener.close()
        beside.unlink(missing_ok=True)
        raise ServiceError(_reason(address, error)) from None
    return listener


def _refuse_if_taken(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # nothing there, or a folder that binding will complain about
    if not stat.S_ISSOCK(mode):
        raise ServiceError(f"{path} is there and is no socket: name another path in listen.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # nobody listens: left by a process that was killed
        except OSError:
            pass  # a full backlog or a lack of rights: somebody is there
    raise ServiceError(
        f"Another process answers on {path}: stop it, or name another path in listen."
    )


def _reason(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Another process listens on {address}: stop it, or name another port in listen."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is no address of this machine: name another one in listen."
    return f"The service cannot listen on {address}: {error.strerror}."
