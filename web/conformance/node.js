// Compares the module in Node with hl-run: node node.js SITE EXPECTED.json. EXPECTED.json has `texts`, whether results are `exact`, and
// the lines of hl-run in each unit of offsets.
import { readFile } from "node:fs/promises";
import { Tagger } from "../src/index.js";
import { UNITS, compare } from "./compare.js";

const [site, file] = process.argv.slice(2);
const expected = JSON.parse(await readFile(file, "utf8"));
const tagger = await Tagger.open(site);
const found = {};
let milliseconds = 0;
for (const offsets of UNITS) {
  const began = performance.now();
  found[offsets] = await tagger.tag(expected.texts, { offsets });
  milliseconds = performance.now() - began;
}
const line = compare(found, expected, expected.exact);
const each = (milliseconds / expected.texts.length).toFixed(1);
console.log(`Node, ${tagger.metadata.task} in ${tagger.precision}: ${line}; ${each} ms each`);
