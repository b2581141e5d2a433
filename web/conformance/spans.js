// Prints what the module finds, as JSON like that of hl-run: node spans.js SITE TEXTS.json [CHROMIUM]. With CHROMIUM, it runs there.
import { readFile } from "node:fs/promises";
import { findInNode, findInPage } from "./find.js";
import { launch } from "./pages.js";
import { serve } from "./server.js";

const [site, file, executablePath] = process.argv.slice(2);
const texts = JSON.parse(await readFile(file, "utf8"));

async function findInBrowser() {
  const server = await serve(site);
  const browser = await launch(executablePath);
  try {
    const page = await browser.newPage();
    await page.goto(server.url);
    return await findInPage(page, texts);
  } finally {
    await browser.close();
    await server.stop();
  }
}

const { found } = executablePath ? await findInBrowser() : await findInNode(site, texts);
const named = ({ tagScores, ...object }) => ({ ...object, tag_scores: tagScores });
console.log(JSON.stringify(Object.fromEntries(Object.entries(found).map(([unit, objects]) => [unit, objects.map(named)]))));
