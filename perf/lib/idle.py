"""The idle workload: what an open keep-alive connection that does nothing costs a server in memory."""
import select
import socket
import time

from lib.servers import memory_and_threads

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: idle/1\r\nAccept: */*\r\n\r\n"


def measure(server, count):
    """Opens `count` connections, one answered request each, and returns a row for the table.

    `lost` are connections that the server closed meanwhile.
    """
    warm = [_open(server.port) for _ in range(min(100, count))]
    for _ in range(20):  # so that buffer rings, pools and code pages are not charged to the connections
        for connection in warm:
            _ask(connection)
    before, _ = memory_and_threads(server.pids)
    began = time.monotonic()
    connections = []
    try:
        while len(connections) < count:
            connections.append(_open(server.port))
        opened = time.monotonic() - began
        after, threads = memory_and_threads(server.pids)
        lost = _closed_by_peer(connections)
    finally:
        for connection in warm + connections:
            connection.close()
    return {"bytes_per_connection": (after - before) / count, "before": before, "after": after, "lost": lost,
            "seconds": opened, "threads": threads}


def _open(port):
    connection = socket.create_connection(("127.0.0.1", port), 10)
    _ask(connection)
    return connection


def _ask(connection):
    connection.sendall(REQUEST)
    answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the server answered {answer[:40]!r}")


def _closed_by_peer(connections):
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLRDHUP | select.POLLHUP)
    return len(poll.poll(0))
