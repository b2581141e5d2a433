// What the module says about bad input: SITE=... node --test bad-input.js
import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { HyperloaderError, Tagger } from "../src/index.js";
import { serve } from "./server.js";

const site = process.env.SITE;
let folder;
let tagger;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperloader-"));
  tagger = await Tagger.open(site);
});

after(async () => {
  await tagger.close();
  await rm(folder, { recursive: true });
});

/** The error of opening a copy of the site that `damage` has changed. */
async function openError(damage, options) {
  const copy = join(folder, "copy");
  await cp(site, copy, { recursive: true });
  const metadata = JSON.parse(await readFile(join(copy, "tagger.json"), "utf8"));
  await damage(copy, metadata);
  try {
    await (await Tagger.open(copy, options)).close();
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await rm(copy, { recursive: true });
  }
}

/** Writes changed metadata. */
const rewrite = (copy, metadata) => writeFile(join(copy, "tagger.json"), JSON.stringify(metadata));

test("a missing file is named", async () => {
  for (const name of ["tagger.json", "tokenizer.json", "encoder.onnx", "decoder.onnx"]) {
    const error = await openError((copy) => rm(join(copy, name)));
    assert.ok(error instanceof HyperloaderError && error.code === "missing-file" && error.message.includes(name), String(error));
  }
  const server = await serve(site);
  const error = await Tagger.open(`${server.url}nowhere`).catch((reason) => reason);
  assert.deepEqual([error.code, error.message.includes("404")], ["missing-file", true]);
  const served = await Tagger.open(server.url);
  assert.equal((await served.tag(["set an alarm for 7 am"]))[0].spans.length > 0, true);
  await served.close();
  await server.stop();
});

test("a damaged file is named, with both sizes or digests", async () => {
  const short = await openError((copy, { graphs }) => truncate(join(copy, graphs.weights), 100));
  assert.match(`${short.code} ${short.message}`, /^damaged-file .*weights.* has 100 bytes, expected \d+/);
  const flip = async (copy, { graphs }) => {
    const bytes = await readFile(join(copy, graphs.weights));
    bytes[bytes.length >> 1] ^= 1;
    await writeFile(join(copy, graphs.weights), bytes);
  };
  const flipped = await openError(flip);
  assert.match(`${flipped.code} ${flipped.message}`, /^damaged-file .*SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}/);
  assert.equal(await openError(flip, { check: "size" }), undefined, "only sizes are compared if that is asked for");
  const text = await openError((copy) => writeFile(join(copy, "tagger.json"), "{"));
  assert.equal(text.code, "damaged-file");
});

test("graphs and tokenizers that are none are named, also if their digests are right", async () => {
  for (const [name, expected] of [["decoder.onnx", "runtime"], ["tokenizer.json", "damaged-file"]]) {
    const error = await openError(async (copy, metadata) => {
      await writeFile(join(copy, name), "[1, 2]");
      metadata.files.find((file) => file.name === name).bytes = 6;
      await rewrite(copy, metadata);
    }, { check: "size" });
    assert.ok(error instanceof HyperloaderError && error.code === expected && error.message.includes(name.split(".")[0]), String(error));
  }
});

test("other versions, kinds and rules are refused with both values", async () => {
  const changes = [
    [(metadata) => (metadata.web = 2), /web is 2, this module reads 1/],
    [(metadata) => (metadata.tagger.format = 3), /format is 3, this module reads 2/],
    [(metadata) => (metadata.tagger.kind = "token-classifier"), /kind is "token-classifier", this module reads "encoder-decoder"/],
    [(metadata) => (metadata.tagger.words.rule = "unicode"), /the rule for words is "unicode", expected one of/],
  ];
  for (const [change, message] of changes) {
    const error = await openError((copy, metadata) => {
      change(metadata);
      return rewrite(copy, metadata);
    });
    assert.equal(error.code, "unsupported");
    assert.match(error.message, message);
  }
});

test("metadata that is incomplete or leads elsewhere is refused", async () => {
  const changes = [
    [({ graphs }) => delete graphs.heads, /graphs\.heads is of type undefined, expected a whole number/],
    [({ graphs }) => (graphs.weights = "../elsewhere.weights"), /graphs\.weights is of type string, expected the name of a file/],
    [({ tagger }) => (tagger.labels = ["a", 1]), /tagger\.labels is an array, expected a list of texts/],
    [(metadata) => (metadata.files = null), /files is null, expected a list of files/],
    [({ files }) => files.pop(), /does not list `tokenizer\.json`/],
  ];
  for (const [change, message] of changes) {
    const error = await openError((copy, metadata) => {
      change(metadata);
      return rewrite(copy, metadata);
    });
    assert.ok(error instanceof HyperloaderError && error.code === "damaged-file", String(error));
    assert.match(error.message, message);
  }
});

test("arguments of a wrong type are a TypeError", async () => {
  for (const folder_ of [undefined, null, 7, {}]) await assert.rejects(Tagger.open(folder_), TypeError);
  await assert.rejects(Tagger.open(site, { threads: 0 }), /`threads` is 0/);
  await assert.rejects(Tagger.open(site, { threads: 7 }), /`threads` cannot be 7: ONNX Runtime runs with \d already/);
  await assert.rejects(Tagger.open(site, { check: "none" }), /`check` is "none", expected one of sha256, size/);
  for (const texts of [undefined, null, "set an alarm", 7, {}, new Set()]) await assert.rejects(tagger.tag(texts), TypeError);
  for (const text of [null, undefined, 7, ["a"]]) await assert.rejects(tagger.tag(["a", text]), /^TypeError: text 1 is /);
  await assert.rejects(tagger.tag([], { offsets: "words" }), /`offsets` is "words", expected one of utf16, chars, bytes/);
  await assert.rejects(tagger.tag([], { offset: "chars" }), /there is no option `offset`/);
  await assert.rejects(tagger.tag([], { toString: 1 }), /there is no option `toString`/);
  await assert.rejects(tagger.tag([], null), TypeError);
});

test("no texts have no results, and a text without words has no spans", async () => {
  assert.deepEqual(await tagger.tag([]), []);
  const [empty, blank] = await tagger.tag(["", " \n\t"]);
  assert.deepEqual([empty.spans, empty.tags, empty.complete, blank.words], [[], [], true, []]);
});

test("a lone surrogate concerns its text only", async () => {
  const texts = ["set an alarm for 7 am", "half of a \ud83d smiley", "play jazz \u{1f600}"];
  await assert.rejects(tagger.tag(texts), (error) => error.code === "not-text" && error.index === 1);
  const results = await tagger.tag(texts, { errors: "return" });
  assert.deepEqual(results.map((result) => result instanceof HyperloaderError), [false, true, false]);
  assert.match(results[1].message, /code unit 10 is a lone surrogate/);
});

test("a text that is too long is tagged in parts, or refused if that is asked for", async () => {
  const long = Array.from({ length: 30 }, () => "set an alarm for 7 am on sunday").join("\n");
  await assert.rejects(tagger.tag([long], { split: "never" }), (error) => error.code === "too-long" && /240 words, the tagger takes at most \d+/.test(error.message));
  const [{ spans, words, unread }] = await tagger.tag([long]);
  assert.ok(words.length === 240 && spans.length >= 30 && unread.length === 0, `${spans.length} spans`);
  const [{ unread: tooLong }] = await tagger.tag([`play ${"\u{1f600}x".repeat(3000)} now`]);
  assert.deepEqual(tooLong, [1]);
});

test("calls at the same time do not disturb each other, and a closed tagger says so", async () => {
  const texts = ["set an alarm for 7 am", "play some jazz", "remind me to call mom"];
  const alone = await tagger.tag(texts);
  const together = await Promise.all(texts.map((text) => tagger.tag([text])));
  assert.deepEqual(together.flat(), alone);
  const other = await Tagger.open(site);
  await other.close();
  await assert.rejects(other.tag(texts), /the tagger is closed/);
});
