#!/usr/bin/env python3
"""Prints the comments of a stream as JSON lines: none missing, none twice, in order.

    python3 examples/watch_stream.py ws://127.0.0.1:8080/ws/1
    echo hello | python3 examples/watch_stream.py ws://127.0.0.1:8080/ws/1 --send --token TOKEN

Written from docs/protocol.md with the package websockets only; `--encoding msgpack` also needs
msgpack. It continues after a lost connection, and reads from the history what the server skipped.
With --send each line of the standard input is a comment. One without an answer when the connection
is lost is sent again with the same ref, so that it is stored once.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
import uuid
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import websockets

# Kind of a MessagePack message: its type and its fields, in order.
LAYOUT = {
    0: ("welcome", "stream_id user epoch seq sample_rate viewers"),
    1: ("comments", "epoch from_seq to_seq sample_rate comments"),
    2: ("ack", "ref comment_id seq"),
    3: ("error", "code message retry_after_ms ref"),
    4: ("comment.deleted", "comment_id reason timestamp"),
    10: ("gap", "from_seq to_seq"),
    11: ("bye", "code reconnect_after_ms"),
}
# Badges in MessagePack are the sum of these.
BADGES = {4: "admin", 2: "broadcaster", 1: "moderator", 8: "subscriber"}
# 100 ns ticks from 1582, where the time of a UUID begins, to 1970.
UNIX_EPOCH_TICKS = 0x01B21DD213814000
# After these close codes a new connection would end in the same way.
FINAL_CODES = {1002, 1003, 1007, 1009, *range(4500, 5000)}
# Refusals that concern the server and not the comment: it is sent again after the wait.
TROUBLES = {"internal", "log_unavailable", "moderation_late", "overloaded", "shutting_down",
            "storage_full", "store_unavailable"}
# Seconds to wait for the history to reach past a gap. A deleted comment never comes.
GAP_WAIT_S = 10


def decode_msgpack(data):
    import msgpack  # only for those who ask for this encoding

    kind, *values = msgpack.unpackb(data)
    name, fields = LAYOUT.get(kind, ("unknown", ""))
    message = {"type": name, **dict(zip(fields.split(), values))}
    if name == "comments":
        message["comments"] = list(expand(message["comments"], message["from_seq"]))
    if name in ("comment.deleted", "ack"):
        message["comment_id"] = str(uuid.UUID(bytes=message["comment_id"]))
    return message


def encode_comment(encoding, text, ref):
    if encoding == "json":
        return json.dumps({"type": "comment", "message": text, "ref": ref})
    import msgpack

    return msgpack.packb([1, text, ref])


def expand(rows, seq):
    """Yields the comments of a batch, in which ids, positions and times are differences."""
    comment_id = None
    for id_or_ticks, user_id, name, text, seq_step, time_step, *badges in rows:
        if isinstance(id_or_ticks, bytes):
            comment_id = uuid.UUID(bytes=id_or_ticks)
        else:
            ticks = comment_id.time + id_or_ticks
            low, mid, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 | 0x1000
            comment_id = uuid.UUID(fields=(low, mid, high, *comment_id.fields[3:]))
        seq += seq_step
        created_at = (comment_id.time - UNIX_EPOCH_TICKS) // 10_000 + time_step
        comment = {"comment_id": str(comment_id), "user_id": str(user_id), "name": name,
                   "message": text, "created_at": created_at, "seq": seq}
        if badges:
            comment["badges"] = [name for bit, name in BADGES.items() if bit & badges[0]]
        yield comment


def bye_of(body):
    """An answer over HTTP: only an error that names a wait may succeed later."""
    try:
        problem = json.loads(body)
        return {"reconnect_after_ms": problem.get("retry_after_ms")} if "code" in problem else None
    except (ValueError, TypeError, AttributeError):
        return None  # of a proxy, not of the server


class Sender:
    """Comments without an answer, by their ref, in the order in which they were written."""

    def __init__(self, encoding):
        self.encoding, self.unanswered, self.socket = encoding, {}, None
        self.prefix, self.count = uuid.uuid4().hex[:12], 0
        self.turn = asyncio.Lock()  # what was written first is sent first, also after a loss

    async def read(self, finished):
        """Sends each line of the standard input. Ends when all of them are answered."""
        while line := await asyncio.to_thread(sys.stdin.readline):
            self.count += 1
            ref = f"{self.prefix}-{self.count}"
            self.unanswered[ref] = line.strip()
            await self.send(ref)
        while self.unanswered:
            await asyncio.sleep(0.05)
        finished.set()

    async def connected(self, socket):
        """Sends what a lost connection left without an answer."""
        async with self.turn:
            self.socket = socket
            for ref in list(self.unanswered):
                await self.send_now(ref)

    async def send(self, ref, after_s=0):
        await asyncio.sleep(after_s)
        async with self.turn:
            await self.send_now(ref)

    async def send_now(self, ref):
        if self.socket and ref in self.unanswered:
            with contextlib.suppress(websockets.ConnectionClosed):  # the next connection sends it
                await self.socket.send(encode_comment(self.encoding, self.unanswered[ref], ref))

    async def answered(self, message):
        if message.get("code") in TROUBLES:
            await self.send(message["ref"], message.get("retry_after_ms", 1000) / 1000)
        else:
            self.unanswered.pop(message["ref"], None)


class Watcher:
    def __init__(self, options):
        self.options, self.left = options, options.count
        self.decode = json.loads if options.encoding == "json" else decode_msgpack
        self.epoch = self.seq = None
        self.gaps, self.shown, self.deleted = [], set(), set()
        self.failures = 0
        self.sender = Sender(options.encoding)
        self.tasks = set()

    async def run(self):
        finished = asyncio.Event()
        if self.options.send:
            self.start(self.sender.read(finished))
        watching = self.start(self.watch())
        ending = self.start(finished.wait())
        await asyncio.wait({watching, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in self.tasks:
            task.cancel()
        if watching.done():
            watching.result()

    def start(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def watch(self):
        while (pause := await self.session()) is not None:
            await asyncio.sleep(pause)

    async def session(self):
        """Watches over one connection. Returns the seconds until the next; None means never."""
        query = {"token": self.options.token, "epoch": self.epoch, "seq": self.seq}
        query = urlencode({key: value for key, value in query.items() if value is not None})
        protocol = f"lc.v1.{self.options.encoding}"
        socket = bye = None
        try:
            async with websockets.connect(f"{self.options.url}?{query}", subprotocols=[protocol],
                                          max_size=None) as socket:
                async for data in socket:
                    message = self.decode(data)
                    bye = message if message["type"] == "bye" else bye
                    await self.handle(message, socket)
                    if self.left == 0:
                        return None
        except websockets.InvalidStatus as refusal:
            print(f"refused: {refusal.response.body.decode()}", file=sys.stderr)
            bye = bye_of(refusal.response.body)
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            print(f"not connected: {error}", file=sys.stderr)
        self.sender.socket = None
        if bye:
            wait_ms = bye.get("reconnect_after_ms")
            return None if wait_ms is None else wait_ms / 1000
        if socket and socket.close_code in FINAL_CODES:
            return None
        self.failures = min(self.failures + 1, 6)
        return random.uniform(0, 0.25 * 2**self.failures)

    async def handle(self, message, socket):
        kind = message["type"]
        if kind == "welcome":
            if self.epoch not in (None, message["epoch"]):
                print("the log is another one; what was missed is lost", file=sys.stderr)
                self.gaps.clear()
            self.epoch, self.seq, self.failures = message["epoch"], message["seq"], 0
            if message["user"]:
                await self.sender.connected(socket)
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
        if kind in ("ack", "error") and message.get("ref"):
            self.start(self.sender.answered(message))  # it may wait

    def show(self, comments):
        new = [it for it in comments if it["comment_id"] not in self.deleted][:self.left]
        self.shown.update(comment["comment_id"] for comment in new)
        self.left = None if self.left is None else self.left - len(new)
        print("".join(json.dumps(comment) + "\n" for comment in new), end="", flush=True)

    async def fill_gaps(self, next_seq):
        """Shows what was skipped, as soon as the history has the comment after it."""
        deadline = time.monotonic() + GAP_WAIT_S
        while self.gaps:
            found, newest = await asyncio.to_thread(self.read_history, *self.gaps[0])
            if newest >= next_seq or time.monotonic() > deadline:
                self.show(found)
                self.gaps.pop(0)
            else:
                await asyncio.sleep(0.1)

    def read_history(self, from_seq, to_seq):
        """Returns the comments of a range, oldest first, and the newest position in the history."""
        site, _, stream = self.options.url.rsplit("/", 2)
        url = f"{site.replace('ws', 'http', 1)}/api/streams/{stream}/comments?limit=1000"
        token = self.options.token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        found, newest, last, before = [], 0, float("inf"), ""
        while before is not None:
            with urlopen(Request(url + before, headers=headers), timeout=10) as answer:
                page = json.load(answer)
            for comment in page["comments"]:
                newest = newest or comment["seq"]
                if not from_seq <= comment["seq"] <= last:  # before the range, or of an older log
                    return found[::-1], newest
                last = comment["seq"]
                if last <= to_seq:
                    found.append(comment)
            before = page.get("next_before") and f"&before={page['next_before']}"
        return found[::-1], newest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prints the comments of a stream as JSON lines.")
    parser.add_argument("url", help="such as ws://127.0.0.1:8080/ws/1")
    parser.add_argument("--encoding", choices=["json", "msgpack"], default="json")
    parser.add_argument("--token", help="access token, if the stream is not open to all")
    parser.add_argument("--send", action="store_true",
                        help="send the lines of the standard input; end when all are answered")
    parser.add_argument("--count", type=int, help="end after so many comments")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Watcher(parser.parse_args()).run())
