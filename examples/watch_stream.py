#!/usr/bin/env python3
"""Prints the comments of a stream as JSON lines: none missing, none twice, in order.

    python3 examples/watch_stream.py ws://127.0.0.1:8080/ws/1 --encoding msgpack

Written from docs/protocol.md; needs the packages of examples/requirements.txt. It continues after a
lost connection, and reads from the history what the server skipped.
"""

import argparse
import asyncio
import json
import random
import sys
import time
import urllib.parse
import urllib.request
import uuid

import msgpack
import websockets

# Kind of a MessagePack message: its type and its fields, in order.
LAYOUT = {
    0: ("welcome", "stream_id user epoch seq sample_rate viewers"),
    1: ("comments", "epoch from_seq to_seq sample_rate comments"),
    3: ("error", "code message retry_after_ms ref"),
    4: ("comment.deleted", "comment_id reason timestamp"),
    10: ("gap", "from_seq to_seq"),
    11: ("bye", "code reconnect_after_ms"),
}
# 100 ns ticks from 1582, where the time of a UUID begins, to 1970.
UNIX_EPOCH_TICKS = 0x01B21DD213814000
# After these close codes a new connection would end in the same way.
CLIENT_ERRORS = (1002, 1003, 1007, 1009)
# Seconds to wait for the history to reach past a gap.
GAP_WAIT_S = 10


def decode_msgpack(data):
    kind, *values = msgpack.unpackb(data)
    if kind not in LAYOUT:
        return {"type": "unknown"}
    name, fields = LAYOUT[kind]
    message = {"type": name, **dict(zip(fields.split(), values))}
    if name == "comments":
        message["comments"] = list(expand(message["comments"], message["from_seq"]))
    if name == "comment.deleted":
        message["comment_id"] = str(uuid.UUID(bytes=message["comment_id"]))
    return message


def expand(rows, seq):
    """Returns the comments of a batch, in which ids, positions and times are differences."""
    comment_id = None
    for id_or_ticks, user_id, name, text, seq_step, time_step, *_ in rows:
        if isinstance(id_or_ticks, bytes):
            comment_id = uuid.UUID(bytes=id_or_ticks)
        else:
            ticks = comment_id.time + id_or_ticks
            low, mid, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 | 0x1000
            comment_id = uuid.UUID(fields=(low, mid, high, *comment_id.fields[3:]))
        seq += seq_step
        created_at = (comment_id.time - UNIX_EPOCH_TICKS) // 10_000 + time_step
        yield {"comment_id": str(comment_id), "user_id": str(user_id), "name": name,
               "message": text, "created_at": created_at, "seq": seq}


class Watcher:
    def __init__(self, arguments):
        self.url, self.token = arguments.url, arguments.token
        self.encoding, self.left = arguments.encoding, arguments.count
        self.decode = json.loads if self.encoding == "json" else decode_msgpack
        self.epoch = self.seq = None
        self.gaps, self.shown, self.deleted = [], set(), set()
        self.failures = 0

    async def run(self):
        """Connects until the server says that coming back is of no use."""
        pause = 0
        while pause is not None and self.left != 0:
            await asyncio.sleep(pause)
            self.bye = None
            try:
                pause = await self.session()
            except websockets.InvalidStatus as refusal:
                pause = self.after_refusal(refusal.response)
            except (OSError, TimeoutError, websockets.WebSocketException) as error:
                print(f"not connected: {error}", file=sys.stderr)
                pause = self.growing_pause()

    async def session(self):
        query = {"token": self.token, "epoch": self.epoch, "seq": self.seq}
        query = urllib.parse.urlencode({k: v for k, v in query.items() if v is not None})
        protocol = f"lc.v1.{self.encoding}"
        async with websockets.connect(f"{self.url}?{query}", subprotocols=[protocol],
                                      max_size=None) as socket:
            try:
                async for data in socket:
                    await self.handle(self.decode(data))
                    if self.left == 0:
                        return None
            except websockets.ConnectionClosedError:
                pass
        if self.bye:
            wait_ms = self.bye.get("reconnect_after_ms")
            return None if wait_ms is None else wait_ms / 1000
        code = socket.close_code or 1006
        final = code in CLIENT_ERRORS or 4500 <= code < 5000
        return None if final else self.growing_pause()

    def after_refusal(self, response):
        """An answer over HTTP: only an error that names a wait may succeed later."""
        try:
            error = json.loads(response.body)["error"]
        except (ValueError, KeyError, TypeError):
            return self.growing_pause()  # of a proxy, not of the server
        print(f"refused: {error['message']}", file=sys.stderr)
        wait_ms = error.get("retry_after_ms")
        return None if wait_ms is None else wait_ms / 1000

    def growing_pause(self):
        self.failures = min(self.failures + 1, 6)
        return random.uniform(0, 0.25 * 2**self.failures)

    async def handle(self, message):
        kind = message["type"]
        if kind == "welcome":
            if self.epoch not in (None, message["epoch"]):
                print("the log is another one; what was missed is lost", file=sys.stderr)
                self.gaps.clear()
            self.epoch, self.seq, self.failures = message["epoch"], message["seq"], 0
        elif kind in ("comments", "gap") and not message.get("echo"):
            if message["from_seq"] != self.seq + 1:
                raise OSError(f"the range after {self.seq} is missing")  # come back for it
            if kind == "gap":
                print(f"skipped {message['from_seq']} to {message['to_seq']}", file=sys.stderr)
                self.gaps.append((message["from_seq"], message["to_seq"]))
            elif message["comments"]:
                await self.fill_gaps(message["comments"][0]["seq"])
                self.show(message["comments"])
            self.seq = message["to_seq"]
        elif kind == "comment.deleted":
            self.deleted.add(message["comment_id"])
            if message["comment_id"] in self.shown:
                print(json.dumps({"deleted": message["comment_id"]}), flush=True)
        elif kind == "error":
            print(f"{message['code']}: {message['message']}", file=sys.stderr)
        elif kind == "bye":
            self.bye = message

    def show(self, comments):
        for comment in comments:
            if comment["comment_id"] in self.deleted or self.left == 0:
                continue
            self.shown.add(comment["comment_id"])
            self.left = None if self.left is None else self.left - 1
            print(json.dumps(comment), flush=True)

    async def fill_gaps(self, next_seq):
        """Shows what was skipped. The history is written in the order of the log, so it is complete
        up to a comment that it contains: here the one after the gap. That one may have been deleted,
        so the wait for it ends."""
        deadline = time.monotonic() + GAP_WAIT_S
        while self.gaps:
            gap = self.gaps[0]
            found, newest = await asyncio.to_thread(self.read_history, *gap)
            if newest < next_seq and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
                continue
            self.show(found)
            self.gaps.pop(0)

    def read_history(self, from_seq, to_seq):
        """Returns the comments of a range, oldest first, and the newest position in the history."""
        parts = urllib.parse.urlsplit(self.url)
        stream = parts.path.rsplit("/", 1)[1]
        base = f"{parts.scheme.replace('ws', 'http', 1)}://{parts.netloc}/api/streams/{stream}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        found, newest, last, before = [], 0, float("inf"), None
        while True:
            query = urllib.parse.urlencode({"limit": 1000, **({"before": before} if before else {})})
            request = urllib.request.Request(f"{base}/comments?{query}", headers=headers)
            with urllib.request.urlopen(request, timeout=10) as answer:
                page = json.load(answer)
            for comment in page["comments"]:
                newest = newest or comment["seq"]
                if comment["seq"] < from_seq or comment["seq"] > last:
                    return found[::-1], newest
                if comment["seq"] <= to_seq:
                    found.append(comment)
                last = comment["seq"]
            before = page.get("next_before")
            if before is None:
                return found[::-1], newest


def main():
    parser = argparse.ArgumentParser(description="Prints the comments of a stream as JSON lines.")
    parser.add_argument("url", help="such as ws://127.0.0.1:8080/ws/1")
    parser.add_argument("--encoding", choices=["json", "msgpack"], default="msgpack")
    parser.add_argument("--token", help="access token, if the stream is not open to all")
    parser.add_argument("--count", type=int, help="end after so many comments")
    arguments = parser.parse_args()
    try:
        asyncio.run(Watcher(arguments).run())
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
