// What the module finds in texts, by unit of offsets, in Node and in a page.
import { UNITS } from "./compare.js";

/**
 * What the module at the address `module` finds with the files of `site`, as JSON: margins, which may be infinite, become null. A page runs
 * the source of this function, so it uses nothing of this file.
 */
async function find({ module, site, texts, units }) {
  const { Tagger } = await import(module);
  const tagger = await Tagger.open(site);
  const found = {};
  let milliseconds = 0;
  for (const offsets of units) {
    const began = performance.now();
    found[offsets] = await tagger.tag(texts, { offsets });
    milliseconds = performance.now() - began;
  }
  return JSON.stringify({ found, milliseconds, precision: tagger.precision, task: tagger.metadata.task });
}

/** @returns what was found, the milliseconds that the last unit took, and the tagger's task and precision. */
export async function findInNode(site, texts) {
  const module = new URL("../src/index.js", import.meta.url).href;
  return JSON.parse(await find({ module, site, texts, units: UNITS }));
}

/** The same in a page of a site that is loaded. */
export async function findInPage(page, texts) {
  await page.waitForFunction(() => !document.getElementById("tag").disabled, undefined, { timeout: 120_000 });
  const [module, site] = ["hyperloader/index.js", "."].map((path) => new URL(path, page.url()).href);
  return JSON.parse(await page.evaluate(find, { module, site, texts, units: UNITS }));
}
