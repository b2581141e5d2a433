// Compares the module in Node with hl-run: node node.js SITE EXPECTED.json. EXPECTED.json has `texts`, whether results are `exact`, and
// the lines of hl-run in each unit of offsets.
import { readFile } from "node:fs/promises";
import { compare } from "./compare.js";
import { findInNode } from "./find.js";

const [site, file] = process.argv.slice(2);
const expected = JSON.parse(await readFile(file, "utf8"));
const { found, milliseconds, precision, task } = await findInNode(site, expected.texts);
const line = compare(found, expected, expected.exact);
const each = (milliseconds / expected.texts.length).toFixed(1);
console.log(`Node, ${task} in ${precision}: ${line}; ${each} ms each`);
