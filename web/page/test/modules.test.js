import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const web = new URL("../../", import.meta.url);

/** @param {string} file */
function read(file) {
  return readFileSync(new URL(file, web), "utf8");
}

/**
 * Returns the modules that one needs, itself included, below `web`.
 *
 * @param {string} file
 * @param {Set<string>} [found]
 */
function needed(file, found = new Set()) {
  if (found.has(file)) return found;
  found.add(file);
  const text = read(file).replace(/\/\*[\s\S]*?\*\//g, "");
  for (const [, path = ""] of text.matchAll(/ from "([^"]+)"/g)) {
    needed(new URL(path, new URL(file, web)).href.slice(web.href.length), found);
  }
  return found;
}

/** Modules import each other ten levels deep, and each level would be a round trip. */
for (const name of ["viewer", "overlay", "moderate"]) {
  test(`the page ${name} preloads the modules that it needs`, () => {
    const html = read(`page/${name}.html`);
    const listed = [...html.matchAll(/rel="modulepreload" href="([^"]+)"/g)].map(
      ([, path]) => path,
    );
    const wanted = [...needed(`page/${name}.js`)].filter((path) => path !== `page/${name}.js`);
    assert.deepEqual(listed, wanted.sort());
  });
}

test("every module of the pages is used by one", () => {
  const used = new Set();
  for (const name of ["viewer", "overlay", "moderate"]) needed(`page/${name}.js`, used);
  const modules = readdirSync(new URL("page/", web)).filter((name) => name.endsWith(".js"));
  assert.deepEqual(
    modules.filter((name) => !used.has(`page/${name}`)),
    [],
  );
});

test("every element that a script names is in its page", () => {
  for (const name of ["viewer", "overlay", "moderate"]) {
    const html = read(`page/${name}.html`);
    for (const file of needed(`page/${name}.js`)) {
      for (const [, id] of read(file).matchAll(/byId\("([^"]+)"\)/g)) {
        assert.ok(html.includes(`id="${id}"`), `${file}: #${id} of ${name}.html`);
      }
    }
  }
});
