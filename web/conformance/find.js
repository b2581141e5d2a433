// What the module finds in texts, by unit of offsets, in Node and in a page.
import { Tagger } from "../src/index.js";
import { UNITS } from "./compare.js";

/** @returns what was found, the milliseconds that the last unit took, and the tagger's task and precision. */
export async function findInNode(site, texts) {
  const tagger = await Tagger.open(site);
  const found = {};
  let milliseconds = 0;
  for (const offsets of UNITS) {
    const began = performance.now();
    found[offsets] = await tagger.tag(texts, { offsets });
    milliseconds = performance.now() - began;
  }
  return { found, milliseconds, precision: tagger.precision, task: tagger.metadata.task };
}

/** The same in a page of a site that is loaded. */
export async function findInPage(page, texts) {
  await page.waitForFunction(() => !document.getElementById("tag").disabled, undefined, { timeout: 120_000 });
  const result = await page.evaluate(async ({ texts, units }) => {
    const { Tagger } = await import(new URL("hyperloader/index.js", document.baseURI).href);
    const tagger = await Tagger.open(document.baseURI.replace(/[^/]*$/, ""));
    const found = {};
    let milliseconds = 0;
    for (const offsets of units) {
      const began = performance.now();
      found[offsets] = await tagger.tag(texts, { offsets });
      milliseconds = performance.now() - began;
    }
    const { precision, metadata } = tagger;
    // Numbers that are infinite do not survive the way out of the page as JSON; the margins are not compared.
    return { found: JSON.stringify(found), milliseconds, precision, task: metadata.task };
  }, { texts, units: UNITS });
  return { ...result, found: JSON.parse(result.found) };
}
