"""A viewer on the package websockets, with nothing of this repository: prints each message as it
comes, sends each line of the standard input as a comment, and prints the close code at the end.

    python3 websockets_viewer.py ws://127.0.0.1:8080/ws/1 TOKEN
"""

import json
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

url, token = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}"}
with connect(url, subprotocols=["lc.v1.json"], additional_headers=headers) as socket:

    def send_lines():
        for line in sys.stdin:
            message = line.rstrip("\n")
            socket.send(json.dumps({"type": "comment", "message": message, "ref": message}))

    threading.Thread(target=send_lines, daemon=True).start()
    try:
        while True:
            print(socket.recv(), flush=True)
    except ConnectionClosed as closed:
        print(json.dumps({"type": "closed", "code": closed.rcvd.code}), flush=True)
