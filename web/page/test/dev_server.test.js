import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const repository = new URL("../../../", import.meta.url);

/**
 * Returns the policy that a source file assigns to POLICY, without the breaks of its lines.
 *
 * @param {string} file
 */
function policyOf(file) {
  const text = readFileSync(new URL(file, repository), "utf8");
  const [, assigned = ""] = /const POLICY[^=]*=([\s\S]*?"); *\n/.exec(text) ?? [];
  const parts = [...assigned.matchAll(/"([^"]*)"/g)].map(([, part = ""]) => part);
  return parts.join("").replace(/\\\n\s*/g, "");
}

test("the dev server has the policy of the daemon", () => {
  const policy = policyOf("src/daemon/edge/gateway/page/mod.rs");
  assert.match(policy, /^default-src 'none'; .*require-trusted-types-for 'script'$/);
  assert.equal(policyOf("web/dev_server.js"), policy);
});
