// Compares the module in headless Chromium with hl-run, and checks the page: node chromium.js CHROMIUM SITE EXPECTED.json [FOLDER].
// Screenshots go to FOLDER.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { UNITS, compare } from "./compare.js";
import { checkPage } from "./page.js";
import { launch } from "./pages.js";
import { serve } from "./server.js";

const [executablePath, site, file, screenshots] = process.argv.slice(2);
const expected = JSON.parse(await readFile(file, "utf8"));
const server = await serve(site);
const browser = await launch(executablePath);
try {
  const page = await browser.newPage();
  const bytes = {};
  page.on("response", (response) => {
    bytes[new URL(response.url()).pathname] = Number(response.headers()["content-length"]);
  });
  await page.goto(server.url);
  await page.waitForFunction(() => !document.getElementById("tag").disabled, undefined, { timeout: 120_000 });
  const weight = Object.values(bytes).reduce((sum, size) => sum + size, 0);
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
  }, { texts: expected.texts, units: UNITS });
  const line = compare(JSON.parse(result.found), expected, expected.exact);
  const each = (result.milliseconds / expected.texts.length).toFixed(1);
  console.log(`Chromium ${browser.version()}, ${result.task} in ${result.precision}: ${line}; ${each} ms each; the page loads ${(weight / 1e6).toFixed(1)} MB`);
  assert.ok(weight > 1e6, "the files of the page were not counted");
  await page.close();
  await checkPage(browser, server.url, screenshots);
} finally {
  await browser.close();
  await server.stop();
}
