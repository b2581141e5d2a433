// The page of hl-serve in headless Chromium: `node check.mjs CHROMIUM URL [FOLDER]`. Screenshots go to FOLDER.
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  accessible, fitsSmallScreens, hidesScoresAndCopies, launch, open, runsNothingElse, showsResults, tabTo,
} from "../../../web/conformance/pages.js";

const [executablePath, url, folder] = process.argv.slice(2);
const browser = await launch(executablePath);
const text = "wake me at 8 am on sunday\nremind me to call mom tomorrow night\n\u{1F600} set an alarm for 7 am <b>now</b>";
let passes = 0;
for (const colorScheme of ["light", "dark"]) {
  const { context, page, problems } = await open(browser, url, colorScheme, () => document.getElementById("model").options.length > 0);
  assert.deepEqual(await page.locator("#model option").allTextContents(), ["mtop", "snips"]);
  passes += await accessible(page, `${colorScheme}, empty`);

  // By the keyboard alone: model, text, key, button.
  await tabTo(page, "model");
  await tabTo(page, "text");
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText(text);
  await tabTo(page, "key");
  await tabTo(page, "tag");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#results li").length === 3);
  await page.waitForFunction(() => document.getElementById("status").textContent.includes("in the queue"));

  const answer = JSON.parse(await page.locator("#json").textContent());
  await showsResults(page, text.split("\n"), answer.results);
  passes += await accessible(page, `${colorScheme}, with results`);
  if (folder) await page.screenshot({ path: join(folder, colorScheme === "dark" ? "playground-dark.png" : "playground.png"), fullPage: true });

  await hidesScoresAndCopies(page, answer);
  await page.locator("#copy-curl").click();
  const curl = await page.evaluate(() => navigator.clipboard.readText());
  assert.ok(curl.startsWith(`curl '${url}tag'`) && curl.includes("\"model\":\"mtop\""), curl);

  await page.locator("#model").selectOption("snips");
  await page.locator("#text").fill("play jazz");
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => document.querySelectorAll("#results li").length === 1);
  assert.equal(JSON.parse(await page.locator("#json").textContent()).model, "snips");
  await page.locator("#text").fill("  ");
  await page.locator("#tag").click();
  assert.equal(await page.locator("#status").textContent(), "Enter a text.");
  passes += await accessible(page, `${colorScheme}, with a message of an error`);
  assert.deepEqual(problems, []);
  await runsNothingElse(page);
  await context.close();
}
await fitsSmallScreens(browser, url);
await browser.close();
console.log(`the page in Chromium, light and dark: no violation of accessibility rules (${passes} checks passed), nothing loaded from elsewhere`);
