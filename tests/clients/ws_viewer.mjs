/**
 * A viewer on the package `ws`, with nothing of this repository: prints each message as it comes,
 * sends each line of the standard input as a comment, and prints the close code at the end.
 *
 *     node ws_viewer.mjs ws://127.0.0.1:8080/ws/1 TOKEN
 */

import { createInterface } from "node:readline";

import WebSocket from "ws";

const [url, token] = process.argv.slice(2);
const socket = new WebSocket(url, "lc.v1.json", { headers: { Authorization: `Bearer ${token}` } });
socket.on("message", (data) => console.log(String(data)));
socket.on("close", (code) => {
  console.log(JSON.stringify({ type: "closed", code }));
  process.exit();
});
const lines = createInterface({ input: process.stdin });
lines.on("line", (message) => socket.send(JSON.stringify({ type: "comment", message, ref: message })));
