import assert from "node:assert/strict";
import { test } from "node:test";
import { CLAUSE, SENTENCE, WORD, boundaries } from "../src/document/boundaries.js";
import { decided } from "../src/document/merge.js";
import { plan } from "../src/document/plan.js";
import { splitWords } from "../src/words.js";

/** The text with `|` where a sentence ends and `/` where a clause ends. */
function marked(rule, text) {
  const words = splitWords(text, { rule, lowercase: false });
  const marks = { [WORD]: " ", [CLAUSE]: " / ", [SENTENCE]: " | " };
  const found = boundaries(text, words).map((boundary, at) => marks[boundary] + words[at].text);
  return found.join("").slice(3);
}

test("sentences end as UAX 29 says", () => {
  const text = "Call Mom, then stop! \"Is it 3.5 km?\" he said. \u4f60\u597d\u3002\u4f60 End";
  assert.equal(marked("whitespace", text), "Call Mom, / then stop! | \"Is it 3.5 km?\" | he said. | \u4f60\u597d\u3002\u4f60 End");
});

test("abbreviations, initials and numbers go on", () => {
  assert.equal(marked("whitespace", "Dr. A. Smith of St. Louis came. He sat."), "Dr. / A. / Smith of St. / Louis came. | He sat.");
  assert.equal(marked("whitespace", "wake me at 8 . play jazz"), "wake me at 8 . | play jazz");
});

test("a line break ends a sentence, but not one that wraps a paragraph", () => {
  assert.equal(marked("whitespace", "one\ntwo"), "one | two");
  const long = "this is a paragraph that is wrapped at some width\nbecauseitislong and goes on";
  assert.ok(!marked("whitespace", long).includes("|"), marked("whitespace", long));
});

test("parts keep the limits, share words, and leave out words that never fit", () => {
  const words = Array.from({ length: 50 }, () => 2);
  const { parts, unread } = plan(words, words.map((_, at) => (at === 0 ? SENTENCE : WORD)), { words: 20, tokens: 100 });
  assert.deepEqual(parts.map(({ start, end }) => [start, end]), [[0, 20], [14, 34], [28, 48], [42, 50]]);
  assert.deepEqual(unread, []);
  assert.deepEqual(plan([9, 9], [SENTENCE, WORD], { words: 5, tokens: 4 }), { parts: [], unread: [0, 1] });
});

test("sentences longer than those of training have windows as long as a usual one", () => {
  const limits = { words: 12, tokens: 100, trained: { median: 6, p99: 12 } };
  const ranges = (count, most = limits) => {
    const boundaries = Array.from({ length: count }, (_, at) => (at === 0 || at === 13 ? SENTENCE : WORD));
    return plan(boundaries.map(() => 1), boundaries, most).parts.map(({ start, end }) => [start, end]);
  };
  assert.deepEqual(ranges(12), [[0, 12]]);
  assert.deepEqual(ranges(13), [[0, 6], [3, 9], [6, 12], [9, 13]]);
  assert.deepEqual(ranges(20), [[0, 6], [3, 9], [6, 12], [9, 13], [13, 20]]);
  assert.deepEqual(ranges(12, { ...limits, words: 8 }), [[0, 8], [6, 12]]);
});

test("windows are not joined inside a span of either", () => {
  const parts = [{ start: 0, end: 6, continues: false }, { start: 2, end: 8, continues: true }];
  const joint = (first, second) => decided(parts, [first.split(" "), second.split(" ")])[0].end;
  assert.equal(joint("O O O O O O", "O O O O O O"), 4);
  assert.equal(joint("O O O B-x I-x O", "B-y I-y O O O O"), 5);
  assert.equal(joint("O B-x I-x I-x I-x I-x", "B-x I-x I-x I-x I-x O"), 4);
});

test("a paragraph of very many lines has boundaries", () => {
  const text = "x\n".repeat(150_000);
  const [first, second] = splitWords(text.slice(0, 4), { rule: "whitespace", lowercase: false });
  assert.deepEqual(boundaries(text, [first, second]), [SENTENCE, SENTENCE]);
});
