import assert from "node:assert/strict";
import { join } from "node:path";
import { accessible, fitsSmallScreens, hidesScoresAndCopies, open, runsNothingElse, showsResults, tabTo } from "./pages.js";

const TEXT = "wake me at 8 am on sunday\nremind me to call mom tomorrow night\n\u{1F600} set an alarm for 7 am <b>now</b>";

/** Tags by the keyboard alone, and compares what is shown with the results. */
async function tagByKeyboard(page) {
  await tabTo(page, "text");
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText(TEXT);
  await tabTo(page, "tag");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("status").textContent.includes(" ms."));
  const results = JSON.parse(await page.locator("#json").textContent());
  await showsResults(page, TEXT.split("\n"), results);
  return results;
}

/** The page in light and in dark: keyboard, accessibility, policy, and what it shows. Screenshots go to `folder`, if given. */
export async function checkPage(browser, url, folder) {
  let passes = 0;
  for (const colorScheme of ["light", "dark"]) {
    const { context, page, problems } = await open(browser, url, colorScheme, () => !document.getElementById("tag").disabled);
    passes += await accessible(page, `${colorScheme}, empty`);
    const results = await tagByKeyboard(page);
    passes += await accessible(page, `${colorScheme}, with results`);
    if (folder) {
      const name = colorScheme === "dark" ? "browser-dark.png" : "browser.png";
      await page.screenshot({ path: join(folder, name), fullPage: true });
    }
    await hidesScoresAndCopies(page, results);
    await page.locator("#text").fill("  ");
    await page.locator("#tag").click();
    assert.equal(await page.locator("#status").textContent(), "Enter a text.");
    assert.deepEqual(problems, []);
    await runsNothingElse(page);
    await context.close();
  }
  await fitsSmallScreens(browser, url);
  console.log(`the page, light and dark: no violation of accessibility rules (${passes} checks passed), nothing loaded from elsewhere`);
}
