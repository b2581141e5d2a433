import assert from "node:assert/strict";
import { test } from "node:test";
import { splitWords } from "../src/words.js";

const joined = (rule, text) => splitWords(text, { rule, lowercase: false }).map((word) => word.text).join(" ");

test("white space is Python's", () => {
  const text = "\x1ca\u00a0b\u3000c\u2028d\u1680e\x0bf\x1fg\x85h\u200bi\u2060j\ufeffk ";
  const words = splitWords(text, { rule: "whitespace", lowercase: false });
  assert.deepEqual(words.map((word) => word.text), ["a", "b", "c", "d", "e", "f", "g", "h\u200bi\u2060j\ufeffk"]);
  assert.deepEqual(splitWords(" \t\x1d ", { rule: "clitics", lowercase: false }), []);
});

// The expected words are those of the tests of `core/src/text/words.rs`.
test("marks are words unless they are tied on both sides", () => {
  const found = joined("punctuation", "What's up at 7:30 a.m., (1,000 e-mails)?");
  assert.equal(found, "What's up at 7 : 30 a.m . , ( 1,000 e - mails ) ?");
  assert.equal(joined("punctuation", "the 80's, 5:00,5:10"), "the 80 ' s , 5 : 00,5 : 10");
  const signs = joined("punctuation", "$450 €75 ₹9 £1,000 ±3 «oui» ¿qué? 你好。 سلام، a_b x² naïve 5°");
  assert.equal(signs, "$ 450 € 75 ₹ 9 £ 1,000 ± 3 « oui » ¿ qué ? 你好 。 سلام ، a_b x² naïve 5 °");
  assert.equal(joined("punctuation", "love💔 👩🏽‍🚀!"), "love💔 👩🏽‍🚀 !");
});

test("clitics are a final 's and half days only", () => {
  const found = joined("clitics", "What's Lisa\u2019s o'clock at 7pm, I'm 6.00pm 29th 10ams");
  assert.equal(found, "What 's Lisa \u2019s o'clock at 7 pm , I'm 6.00pm 29th 10ams");
});

test("offsets are those of the text when lower case changes lengths", () => {
  const words = splitWords("\u0130zmir\u{1f600}, NOW", { rule: "punctuation", lowercase: true });
  assert.deepEqual(words[0], { text: "i\u0307zmir\u{1f600}", start: 0, end: 7 });
  assert.deepEqual(words[2], { text: "now", start: 9, end: 12 });
});
