"""A crowd that guesses passwords, all at once: `python -m tests.faults.guess PORT FIRST`.

It connects, says that it is ready, waits for a line, and then sends everything at once, at as little cost as it can: it
shares the machine with the service, and is to be felt by what it asks for, not by what it takes itself.
"""

import json
import selectors
import socket
import sys

from tests.faults.load import basic

CROWD = 500


def connected(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.setblocking(False)
    return client


def request(number: int) -> bytes:
    lines = [
        "GET /predictions HTTP/1.1",
        "host: churn",
        f"authorization: {basic(f'user-{number}', 'wrong')}",
        f"x-forwarded-for: 198.18.{number % 250}.7",
        "connection: close",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def main(port: int, first: int) -> list[int]:
    """The statuses of the answers."""
    crowd = [connected(port) for _ in range(CROWD)]
    requests = [request(number) for number in range(first, first + CROWD)]
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    for client, content in zip(crowd, requests, strict=True):
        client.send(content)
    statuses = []
    with selectors.DefaultSelector() as selector:
        for client in crowd:
            selector.register(client, selectors.EVENT_READ)
        while len(statuses) < CROWD:
            for key, _ in selector.select():
                client = key.fileobj
                assert isinstance(client, socket.socket)
                selector.unregister(client)
                statuses.append(int(client.recv(4096).split(b" ", 2)[1]))
                client.close()
    return statuses


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201
