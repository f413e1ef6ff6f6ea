import assert from "node:assert/strict";
import { test } from "node:test";

import { keepToken, reloadOnToken, takeToken } from "../session_token.js";
import { openFakeAddress } from "./fake_page.js";

const PAGE = "https://comments.example.org/stream/2?x=1";

test("a token leaves the address and is kept", () => {
  const { address } = openFakeAddress(`${PAGE}#token=abc`);
  assert.equal(takeToken(), "abc");
  assert.equal(address.href, PAGE);
  assert.equal(takeToken(), "abc");
  keepToken(null);
  assert.equal(takeToken(), null);
});

test("a token put behind an open page loads it again", () => {
  const { address, goTo, loads } = openFakeAddress(PAGE);
  reloadOnToken();
  goTo("#other");
  assert.equal(loads(), 0);
  goTo("#token=abc");
  assert.equal(loads(), 1);
  assert.deepEqual([takeToken(), address.href], ["abc", PAGE], "what the load does");
});
