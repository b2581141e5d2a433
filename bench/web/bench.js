// Milliseconds per sentence of the module and of plain greedy decoding, in Node and in Chromium:
// node bench.js CHROMIUM SENTENCES.json FOLDER, where FOLDER has PRECISION/site and PRECISION/model.onnx.
import assert from "node:assert/strict";
import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { launch } from "../../web/conformance/pages.js";
import { serve } from "../../web/conformance/server.js";
import { Codec } from "../../web/src/codec.js";
import { Tagger } from "../../web/src/index.js";
import { ort } from "../../web/src/vendor.js";
import { splitWords } from "../../web/src/words.js";
import { plainGreedy } from "./plain.js";

const [executablePath, file, folder] = process.argv.slice(2);
const texts = JSON.parse(await readFile(file, "utf8"));
const plainTexts = texts.slice(0, 20);

/** The source ids of a text, as the module makes them. */
function sourceOf(codec, text, splitting) {
  const words = splitWords(text, splitting);
  const ids = words.flatMap((word, at) => [codec.sentinels[at], ...codec.word(word.text)]);
  return [...ids, codec.sentinels[words.length], codec.eos];
}

/** Runs in Node and in the page: the module in both modes, and plain greedy decoding. */
async function measure({ Tagger, ort, plainGreedy, site, model, texts, sources }) {
  ort.env.wasm.numThreads = 1;
  const tagger = await Tagger.open(site);
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  // Other programs disturb a run: the least of three counts.
  const each = async (items, run) => {
    let sum = 0;
    for (const item of items) {
      const times = [];
      for (let at = 0; at < 3; at += 1) {
        const began = performance.now();
        await run(item);
        times.push(performance.now() - began);
      }
      sum += Math.min(...times);
    }
    return sum / items.length;
  };
  const tag = (decode) => (text) => tagger.tag([text], { decode });
  const found = {
    verified: await each(texts, tag("verified")),
    greedy: await each(texts, tag("greedy")),
    plain: await each(sources, (source) => plainGreedy(ort, session, source, tagger.metadata)),
  };
  await session.release();
  await tagger.close();
  return found;
}

/** A row of the table. */
function row(where, precision, { verified, greedy, plain }) {
  const ms = (number) => number.toFixed(1);
  return `| ${where} | ${precision} | ${ms(verified)} | ${ms(greedy)} | ${ms(plain)} | ${(plain / verified).toFixed(1)} |`;
}

console.log("| in | precision | verified, ms | greedy with kept keys and values, ms | plain greedy, ms | verified is faster than plain |");
console.log("|---|---|---|---|---|---|");
const browser = await launch(executablePath);
for (const precision of ["f32", "int8"]) {
  const place = join(folder, precision);
  const site = join(place, "site");
  const { tagger } = JSON.parse(await readFile(join(site, "tagger.json"), "utf8"));
  const codec = new Codec(JSON.parse(await readFile(join(site, "tokenizer.json"), "utf8")));
  const sources = plainTexts.map((text) => sourceOf(codec, text, tagger.words));
  const model = new Uint8Array(await readFile(join(place, "model.onnx")));
  console.log(row("Node", precision, await measure({ Tagger, ort, plainGreedy, site, model, texts, sources })));

  await copyFile(join(import.meta.dirname, "plain.js"), join(place, "plain.js"));
  const server = await serve(place);
  const page = await browser.newPage();
  await page.goto(`${server.url}site/favicon.svg`);
  const found = await page.evaluate(
    async ({ url, texts, sources, source }) => {
      const { Tagger } = await import(`${url}site/hyperloader/index.js`);
      const { ort } = await import(`${url}site/hyperloader/vendor.js`);
      const { plainGreedy } = await import(`${url}plain.js`);
      const model = new Uint8Array(await (await fetch(`${url}model.onnx`)).arrayBuffer());
      const measure = new Function(`return (${source})`)();
      return measure({ Tagger, ort, plainGreedy, site: `${url}site/`, model, texts, sources });
    },
    { url: server.url, texts, sources, source: measure.toString() },
  );
  console.log(row(`Chromium ${browser.version().split(".")[0]}`, precision, found));
  assert.ok(found.verified > 0);
  await page.close();
  await server.stop();
}
await browser.close();
