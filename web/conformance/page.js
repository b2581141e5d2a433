import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TEXT = "wake me at 8 am on sunday\nremind me to call mom tomorrow night\n\u{1F600} set an alarm for 7 am <b>now</b>";

/** The page with its requests to other places, errors and policy violations. */
async function open(browser, url, colorScheme) {
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
  await page.waitForFunction(() => !document.getElementById("tag").disabled, undefined, { timeout: 120_000 });
  return { context, page, problems };
}

/** Violations of accessibility rules that axe-core finds; the number of rules that hold. */
async function accessible(page, what) {
  // Playwright evaluates scripts outside of the page's policy.
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], what);
  return passes.length;
}

/** The texts and spans as the page shows them. */
function shown(page) {
  return page.locator("#results li").evaluateAll((items) =>
    items.map((item) => {
      const copy = item.cloneNode(true);
      copy.querySelectorAll(".label, p").forEach((node) => node.remove());
      return { text: copy.textContent, spans: [...copy.querySelectorAll("mark")].map((mark) => mark.textContent) };
    }),
  );
}

/** Tags by the keyboard alone, and compares what is shown with the result. */
async function tagByKeyboard(page) {
  for (const id of ["text", "tag"]) {
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.id), id);
    if (id === "text") {
      await page.keyboard.press("Control+a");
      await page.keyboard.insertText(TEXT);
    }
  }
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("status").textContent.includes(" ms."));
  const results = JSON.parse(await page.locator("#json").textContent());
  const items = await shown(page);
  assert.deepEqual(items.map((item) => item.text), TEXT.split("\n"));
  assert.deepEqual(items.map((item) => item.spans), results.map(({ spans }) => spans.map((span) => span.text)));
  assert.ok(items.flatMap((item) => item.spans).length > 0, "no span");
  assert.equal(await page.locator("#results b").count(), 0);
  assert.match(await page.locator("mark .label").first().textContent(), /%$/);
  return results;
}

/** The page in light and in dark: keyboard, accessibility, policy, and what it shows. Screenshots go to `folder`, if given. */
export async function checkPage(browser, url, folder) {
  let passes = 0;
  for (const colorScheme of ["light", "dark"]) {
    const { context, page, problems } = await open(browser, url, colorScheme);
    passes += await accessible(page, `${colorScheme}, empty`);
    const results = await tagByKeyboard(page);
    passes += await accessible(page, `${colorScheme}, with results`);
    if (folder) {
      const name = colorScheme === "dark" ? "browser-dark.png" : "browser.png";
      await page.screenshot({ path: join(folder, name), fullPage: true });
    }
    await page.locator("#scores").uncheck();
    assert.doesNotMatch(await page.locator("mark .label").first().textContent(), /%/);
    await page.locator("#copy-json").click();
    assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), results);
    await page.locator("#text").fill("  ");
    await page.locator("#tag").click();
    assert.equal(await page.locator("#status").textContent(), "Enter a text.");
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
  const small = await browser.newPage({ viewport: { width: 320, height: 640 } });
  await small.goto(url);
  assert.ok(await small.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), "the page is too wide");
  await small.close();
  console.log(`the page, light and dark: no violation of accessibility rules (${passes} checks passed), nothing loaded from elsewhere`);
}
