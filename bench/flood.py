"""A client that sends as fast as the broker takes it, until it is killed: `python -m bench.flood HOST PORT LOGIN`.

LOGIN is a JSON list [client id, user name, password, topic]. Thrown out, it comes back at once. Prints how many
messages it sent each second (as JSON lines).
"""

import json
import socket
import sys
import time

from bandroom.mqtt import packets

_BATCH = 200


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    client_id, username, password, topic = json.loads(sys.argv[3])
    batch = packets.publish(packets.string(topic), b'{"on":60}') * _BATCH
    sent, mark_s = 0, time.monotonic()
    while True:
        with socket.socket() as sock:
            try:
                sock.connect((host, port))
                sock.sendall(packets.connect(client_id, username, password, keepalive_s=60))
                sock.recv(16)
                while True:
                    sock.sendall(batch)
                    sent += _BATCH
                    if time.monotonic() - mark_s >= 1:
                        print(json.dumps({"sent": sent}), flush=True)
                        sent, mark_s = 0, time.monotonic()
            except OSError:
                time.sleep(0.02)


if __name__ == "__main__":
    main()
