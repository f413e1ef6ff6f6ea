import assert from "node:assert/strict";
import { test } from "node:test";

import { TokenSource, expiryMs } from "../token.js";
import { FakeClock } from "./support.js";

/** @param {unknown} claims */
function tokenWith(claims) {
  return `head.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.signature`;
}

test("the expiry is read from the claims, whatever they hold", () => {
  assert.equal(expiryMs(tokenWith({ exp: 1_795_254_408.5, name: "änn>>>???" })), 1_795_254_408_500);
  const without = [
    "",
    "no token",
    "a.b.c",
    tokenWith({}),
    tokenWith(null),
    tokenWith({ exp: "1" }),
  ];
  for (const token of without) assert.equal(expiryMs(token), null, token);
});

test("one call of the provider serves all that wait, and is kept", async () => {
  let calls = 0;
  const source = new TokenSource(new FakeClock(), async () => `token-${(calls += 1)}`);
  assert.deepEqual(await Promise.all([source.get(), source.get()]), ["token-1", "token-1"]);
  assert.equal(await source.get(), "token-1");
  assert.deepEqual(await Promise.all([source.renew("token-1"), source.renew("token-1")]), [
    "token-2",
    "token-2",
  ]);
  assert.equal(await source.renew("token-1"), "token-2");
});

test("an expired token is replaced before it is used", async () => {
  const clock = new FakeClock();
  let calls = 0;
  const source = new TokenSource(clock, () => {
    calls += 1;
    return tokenWith({ exp: clock.now() / 1000 + 60, calls });
  });
  await source.get();
  assert.equal(source.renewalMs(), 54_000);
  await clock.advance(60_000);
  await source.get();
  assert.equal(calls, 2);
});

test("clocks that differ do not make the provider busy", async () => {
  const clock = new FakeClock();
  const source = new TokenSource(clock, () => tokenWith({ exp: clock.now() / 1000 - 3_600 }));
  await source.get();
  assert.equal(source.renewalMs(), 10_000);
});

test("a fixed token is never renewed", async () => {
  const source = new TokenSource(new FakeClock(), tokenWith({ exp: 1 }));
  assert.equal(source.renewalMs(), null);
  assert.equal(source.renewable, false);
  assert.equal(await source.renew(await source.get()), await source.get());
});

test("a source tells whether requests carry a token", () => {
  const source = new TokenSource(new FakeClock(), null);
  assert.equal(source.present, false);
  source.replace("token");
  assert.equal(source.present, true);
  source.replace(() => null);
  assert.equal(source.present, true);
  source.replace(null);
  assert.equal(source.present, false);
});
