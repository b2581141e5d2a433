// Runs the blocks of JavaScript in a page of the book, and compares what they print: node book.js PAGE FOLDER. FOLDER has the package
// `hyperloader` and the site `site`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [page, folder] = process.argv.slice(2);
const blocks = readFileSync(page, "utf8").matchAll(/^```js\n(.*?)^```\n(?:\n```text output\n(.*?)^```\n)?/gms);
let count = 0;
for (const [, code, expected] of blocks) {
  count += 1;
  const file = join(folder, `block-${count}.mjs`);
  writeFileSync(file, code);
  const printed = execFileSync(process.execPath, [file], { cwd: folder, encoding: "utf8" });
  if (expected !== undefined) assert.equal(printed, expected, `block ${count} of ${page}`);
}
assert.ok(count >= 2, `${page} has ${count} blocks of JavaScript`);
console.log(`${count} blocks of JavaScript in the book print what it shows`);
