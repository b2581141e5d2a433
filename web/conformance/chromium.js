// Compares the module in headless Chromium with hl-run, and checks the page: node chromium.js CHROMIUM SITE EXPECTED.json [FOLDER].
// Screenshots go to FOLDER.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { compare } from "./compare.js";
import { findInPage } from "./find.js";
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
  const { found, milliseconds, precision, task } = await findInPage(page, expected.texts);
  const weight = Object.values(bytes).reduce((sum, size) => sum + size, 0);
  const line = compare(found, expected, expected.exact);
  const each = (milliseconds / expected.texts.length).toFixed(1);
  console.log(`Chromium ${browser.version()}, ${task} in ${precision}: ${line}; ${each} ms each; the page loads ${(weight / 1e6).toFixed(1)} MB`);
  assert.ok(weight > 1e6, "the files of the page were not counted");
  await page.close();
  await checkPage(browser, server.url, screenshots);
} finally {
  await browser.close();
  await server.stop();
}
