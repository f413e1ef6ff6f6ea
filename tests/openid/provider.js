// Runs an OpenID provider on this machine, for tests/viewers/openid_provider.rs.
//
// Prints `ok ISSUER`, then reads commands from its input, one a line, and answers each with a line
// that begins with `ok`. The library prints notices between them.
//
//   keys NAME…   publishes the keys of these names, made at their first use; the first one signs
//   token SUB    signs a user in, as a browser does, and answers with the ID token
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const CLIENT = "chat";
const SECRET = "a secret that only this test uses";
const RETURN = "https://site.example/signed-in";

/** @type {Map<string, object>} */
const keys = new Map();

/** @param {string} name */
function key(name) {
  let found = keys.get(name);
  if (!found) {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    found = { ...privateKey.export({ format: "jwk" }), kid: name, use: "sig", alg: "RS256" };
    keys.set(name, found);
  }
  return found;
}

let issuer = "";
/** @type {ReturnType<Provider["callback"]>} */
let handle;

/** @param {string[]} names */
function publish(names) {
  const provider = new Provider(issuer, {
    jwks: { keys: names.map(key) },
    clients: [{ client_id: CLIENT, client_secret: SECRET, redirect_uris: [RETURN] }],
    cookies: { keys: ["cookies of this test"] },
    claims: { openid: ["sub"], profile: ["name", "picture"] },
    // Otherwise the name is only told at another address.
    conformIdTokenClaims: false,
    pkce: { required: () => false },
    async findAccount(_context, sub) {
      const claims = { sub, name: "ann", picture: "https://img.example/ann.png" };
      return { accountId: sub, claims: async () => claims };
    },
  });
  handle = provider.callback();
}

/** The cookies of one browser. */
class Browser {
  /** @type {Map<string, string>} */
  #cookies = new Map();

  /**
   * Opens a page, or sends the form on it.
   *
   * @param {URL} url
   * @param {Record<string, string>} [form]
   */
  async open(url, form) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const body = form && new URLSearchParams(form);
    const method = form ? "POST" : "GET";
    const answer = await fetch(url, { method, body, headers: { cookie }, redirect: "manual" });
    for (const line of answer.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      this.#cookies.set(name, value);
    }
    const next = answer.headers.get("location");
    return { text: await answer.text(), next: next ? new URL(next, url) : null };
  }
}

/** @param {string} sub */
async function token(sub) {
  const browser = new Browser();
  const ask = new URL("/auth", issuer);
  const query = { client_id: CLIENT, response_type: "code", scope: "openid profile" };
  ask.search = new URLSearchParams({ ...query, redirect_uri: RETURN }).toString();
  let url = ask;
  while (!url.href.startsWith(RETURN)) {
    let { text, next } = await browser.open(url);
    if (!next) {
      // The first form asks for the user, the second for consent.
      const prompt = /name="prompt" value="(\w+)"/.exec(text)?.[1] ?? "";
      const form = prompt === "login" ? { prompt, login: sub, password: "any" } : { prompt };
      ({ text, next } = await browser.open(url, form));
    }
    if (!next) throw new Error(`${url}: ${text}`);
    url = next;
  }
  const code = url.searchParams.get("code") ?? "";
  const answer = await fetch(new URL("/token", issuer), {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${CLIENT}:${encodeURIComponent(SECRET)}`)}` },
    body: new URLSearchParams({ grant_type: "authorization_code", code, redirect_uri: RETURN }),
  });
  return (await answer.json()).id_token;
}

const server = createServer((request, response) => handle(request, response));
server.listen(0, "127.0.0.1", async () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  publish(["one"]);
  console.log(`ok ${issuer}`);
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, ...words] = line.split(" ");
    if (command === "keys") {
      publish(words);
      console.log("ok");
    } else {
      console.log(`ok ${await token(words.join(" "))}`);
    }
  }
  process.exit();
});
