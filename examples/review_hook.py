#!/usr/bin/env python3
"""A review hook for lcd: python3 examples/review_hook.py PORT KEY_FILE

Rejects comments with the word "spoiler". Needs only the standard library.
"""

import base64
import hmac
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY = Path(sys.argv[2]).read_bytes().rstrip()


def signature(body):
    return b"v1=" + base64.urlsafe_b64encode(hmac.digest(KEY, body, "sha256")).rstrip(b"=")


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection
    wbufsize = -1  # sends head and body together

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not hmac.compare_digest(self.headers.get("Lcd-Signature", "").encode(), signature(body)):
            self.answer(401, {})
        elif "spoiler" in json.loads(body)["message"].lower():
            self.answer(200, {"decision": "reject", "reason": "spoiler", "score": 1.0})
        else:
            self.answer(200, {"decision": "accept"})

    def answer(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hook).serve_forever()
