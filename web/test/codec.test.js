import assert from "node:assert/strict";
import { test } from "node:test";
import { codec } from "./common.js";

// The ids are those of the crate `tokenizers`.
test("words have the ids that hl-run gives them, also with unusual characters", () => {
  const expected = {
    "alarm": [6196],
    "\u{1f600}": [3, 2],
    "\ufb01ve": [874],
    "<extra_id_1>": [32098],
    "\uff1c/s\uff1e": [3, 1],
    "e\u0301\u0301\u0301": [3, 15, 2],
    "+\u2111\u034bp": [1768, 196, 102],
    "": [],
  };
  for (const [word, ids] of Object.entries(expected)) assert.deepEqual(codec.word(word), ids, JSON.stringify(word));
});

test("special ids have no text, and the rest is split at white space", () => {
  const ids = [...codec.word("wake"), codec.sentinels[3], ...codec.word("me"), codec.eos, codec.pad];
  assert.deepEqual(codec.decodeWords(ids), ["wake", "me"]);
  assert.deepEqual(codec.decodeWords([codec.eos]), []);
  assert.deepEqual(codec.decodeWords([]), []);
});

test("the vocabulary has T5's sentinels", () => {
  assert.deepEqual([codec.sentinels.length, codec.maxWords, codec.sentinels[0], codec.pad, codec.eos], [100, 99, 32099, 0, 1]);
});
