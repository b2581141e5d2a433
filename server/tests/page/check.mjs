// The page of hl-serve in headless Chromium: `node check.mjs CHROMIUM URL [FOLDER]`. Screenshots go to FOLDER.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, url, folder] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

/** A page whose requests, errors and policy violations are recorded. */
async function open(colorScheme) {
  const context = await browser.newContext({ colorScheme, viewport: { width: 900, height: 820 } });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(url).origin });
  const page = await context.newPage();
  const problems = [];
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) problems.push(`loads ${request.url()}`);
  });
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("model").options.length > 0);
  return { context, page, problems };
}

/** Violations of accessibility rules that axe-core finds. */
async function check(page, what) {
  // Playwright evaluates scripts outside of the page's policy.
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], what);
  return passes.length;
}

const text = "wake me at 8 am on sunday\nremind me to call mom tomorrow night\n\u{1F600} set an alarm for 7 am <b>now</b>";
let passes = 0;
for (const colorScheme of ["light", "dark"]) {
  const { context, page, problems } = await open(colorScheme);
  assert.deepEqual(await page.locator("#model option").allTextContents(), ["mtop", "snips"]);
  passes += await check(page, `${colorScheme}, empty`);

  // By the keyboard alone: model, text, key, button.
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "model");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "text");
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText(text);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "tag");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#results li").length === 3);
  await page.waitForFunction(() => document.getElementById("status").textContent.includes("in the queue"));

  // The spans are those of the answer, the texts are whole, and nothing of them is markup.
  const answer = JSON.parse(await page.locator("#json").textContent());
  const shown = await page.locator("#results li").evaluateAll((items) => items.map((item) => {
    const copy = item.cloneNode(true);
    copy.querySelectorAll(".label, p").forEach((node) => node.remove());
    return { text: copy.textContent, spans: [...copy.querySelectorAll("mark")].map((mark) => mark.textContent) };
  }));
  assert.deepEqual(shown.map((item) => item.text), text.split("\n"));
  assert.deepEqual(shown.map((item) => item.spans), answer.results.map(({ spans }) => spans.map((span) => span.text)));
  assert.ok(shown.flatMap((item) => item.spans).length > 0, "no span");
  assert.equal(await page.locator("#results b").count(), 0);
  assert.match(await page.locator("mark .label").first().textContent(), /%$/);
  passes += await check(page, `${colorScheme}, with results`);
  if (folder) await page.screenshot({ path: join(folder, colorScheme === "dark" ? "playground-dark.png" : "playground.png"), fullPage: true });

  await page.locator("#scores").uncheck();
  assert.doesNotMatch(await page.locator("mark .label").first().textContent(), /%/);
  await page.locator("#copy-json").click();
  assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), answer);
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
  passes += await check(page, `${colorScheme}, with a message of an error`);
  assert.deepEqual(problems, []);

  // The policy holds: what is written into the page is not run.
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => window.ran), undefined);
  await context.close();
}

// On a small screen nothing is cut off.
const small = await browser.newPage({ viewport: { width: 320, height: 640 } });
await small.goto(url);
assert.ok(await small.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), "the page is too wide");
await browser.close();
console.log(`the page in Chromium, light and dark: no violation of accessibility rules (${passes} checks passed), nothing loaded from elsewhere`);
