// What the checks of both pages do: that of a site, and that of hl-serve (server/tests/page).
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A headless Chromium. */
export const launch = (executablePath) => chromium.launch({ executablePath, args: ["--no-sandbox"] });

/** A page with its requests to other places, errors and policy violations. It is loaded when `isReady` holds in it. */
export async function open(browser, url, colorScheme, isReady) {
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
  await page.waitForFunction(isReady, undefined, { timeout: 120_000 });
  return { context, page, problems };
}

/** Violations of accessibility rules that axe-core finds; the number of rules that hold. */
export async function accessible(page, what) {
  // Playwright evaluates scripts outside of the page's policy.
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], what);
  return passes.length;
}

/** Moves to the next element by the keyboard, which must be that with this id. */
export async function tabTo(page, id) {
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), id);
}

/** Checks that the texts are shown whole, that nothing in them is markup, and that their spans are marked, with scores. */
export async function showsResults(page, texts, results) {
  const items = await page.locator("#results li").evaluateAll((all) =>
    all.map((item) => {
      const copy = item.cloneNode(true);
      copy.querySelectorAll(".label, p").forEach((node) => node.remove());
      return { text: copy.textContent, spans: [...copy.querySelectorAll("mark")].map((mark) => mark.textContent) };
    }),
  );
  assert.deepEqual(items.map((item) => item.text), texts);
  assert.deepEqual(items.map((item) => item.spans), results.map(({ spans }) => spans.map((span) => span.text)));
  assert.ok(items.flatMap((item) => item.spans).length > 0, "no span");
  assert.equal(await page.locator("#results b").count(), 0);
  assert.match(await page.locator("mark .label").first().textContent(), /%$/);
}

/** Checks that the page can hide the scores, and copies the JSON that it shows. */
export async function hidesScoresAndCopies(page, json) {
  await page.locator("#scores").uncheck();
  assert.doesNotMatch(await page.locator("mark .label").first().textContent(), /%/);
  await page.locator("#copy-json").click();
  assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), json);
}

/** Checks that the policy holds: what is written into the page is not run. */
export async function runsNothingElse(page) {
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => window.ran), undefined);
}

/** Checks that nothing is cut off on a small screen. */
export async function fitsSmallScreens(browser, url) {
  const page = await browser.newPage({ viewport: { width: 320, height: 640 } });
  await page.goto(url);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), "the page is too wide");
  await page.close();
}
