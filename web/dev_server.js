/**
 * Serves the pages from the working tree, to try a change without building the daemon:
 *
 *     node web/dev_server.js [--port 8090] [--daemon http://127.0.0.1:8080]
 *
 * The paths and the headers are those of the daemon. Everything that is no page goes to the daemon
 * at the address of `--daemon`: `/api`, `/ws`, and `/stream/{id}` as a WebSocket. It listens on
 * this machine only, and nothing that it does is meant for others.
 */

import { readFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    port: { type: "string", default: "8090" },
    daemon: { type: "string", default: "http://127.0.0.1:8080" },
  },
});
const daemon = new URL(options.daemon);

/** As in src/daemon/edge/gateway/page. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
  "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "trusted-types 'none'; require-trusted-types-for 'script'";

const CONTENT_TYPES = new Map([
  ["html", "text/html; charset=utf-8"],
  ["js", "text/javascript; charset=utf-8"],
  ["css", "text/css; charset=utf-8"],
]);

/**
 * Returns the file of a path, or null if the path is the daemon's.
 *
 * @param {string} path
 * @returns {string | null}
 */
function fileOf(path) {
  if (path === "/" || /^\/stream\/[^/]+$/.test(path)) return "page/viewer.html";
  if (/^\/overlay\/[^/]+$/.test(path)) return "page/overlay.html";
  if (/^\/moderate\/[^/]+$/.test(path)) return "page/moderate.html";
  return /^\/(page|client)\/(transports\/)?[a-z_]+\.(js|css)$/.test(path) ? path.slice(1) : null;
}

const server = http.createServer(async (request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  const file = request.method === "GET" ? fileOf(pathname) : null;
  if (file === null) return forward(request, response);
  try {
    let text = await readFile(new URL(file, import.meta.url), "utf8");
    // Addresses in the pages are relative to the site.
    if (pathname.lastIndexOf("/") > 0) text = belowSite(file, text);
    response.writeHead(200, {
      "Content-Type": CONTENT_TYPES.get(file.split(".").at(-1) ?? ""),
      "Content-Security-Policy": POLICY,
      "X-Content-Type-Options": "nosniff",
      "Referrer-Policy": "no-referrer",
      "Cache-Control": "no-cache",
    });
    response.end(text);
  } catch {
    response.writeHead(404).end();
  }
});

/**
 * @param {string} file
 * @param {string} text
 */
function belowSite(file, text) {
  if (!file.endsWith(".html")) return text;
  return text.replaceAll('"page/', '"../page/').replaceAll('"client/', '"../client/');
}

/**
 * @param {http.IncomingMessage} request
 * @param {http.ServerResponse} response
 */
function forward(request, response) {
  const { method, headers, url } = request;
  const target = { host: daemon.hostname, port: daemon.port || 80, method, headers, path: url };
  // A connection that is kept may be closed by the daemon just when it is used again.
  const forwarded = http.request({ ...target, agent: false }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  forwarded.on("error", (error) => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end(`the daemon does not answer: ${error.message}\n`);
  });
  response.on("close", () => forwarded.destroy());
  request.pipe(forwarded);
}

server.on("upgrade", (request, socket, head) => {
  const target = net.connect(Number(daemon.port || 80), daemon.hostname, () => {
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let index = 0; index < request.rawHeaders.length; index += 2) {
      lines.push(`${request.rawHeaders[index]}: ${request.rawHeaders[index + 1]}`);
    }
    target.write(`${lines.join("\r\n")}\r\n\r\n`);
    target.write(head);
    socket.pipe(target).pipe(socket);
  });
  target.on("error", () => socket.destroy());
  socket.on("error", () => target.destroy());
});

server.listen(Number(options.port), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${options.port}/ with the daemon at ${daemon.href}`);
});
