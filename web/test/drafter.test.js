import assert from "node:assert/strict";
import { test } from "node:test";
import { ASTRAY, Drafter, extended, noHints, repeated } from "../src/drafter.js";
import { INSIDE, OUTSIDE } from "../src/grammar.js";
import { codec, grammar, target } from "./common.js";

const [CITY, CITY_NAME, TIME] = [2, 3, 4];
const without = new Drafter(grammar, undefined);
const flat = new Drafter(grammar, Array.from({ length: 5 }, () => [0, 0, 0, 0, 0]));
/** The scores of one word: the best is `tag`, the next is `second`. */
const scores = (tag, second) => Float32Array.from([0, 1, 2, 3, 4], (at) => (at === tag ? 2 : at === second ? 1 : 0));

test("without a drafter, a draft is O everywhere and continues the target", () => {
  const whole = target("O", "O", "O");
  const sentence = { words: 3, scores: [] };
  for (let length = 0; length < whole.length; length += 1) {
    const begun = whole.slice(0, length);
    assert.deepEqual([...begun, ...without.draft(sentence, begun, noHints()).ids], whole);
  }
});

test("the drafter completes a tag that the decoder has begun", () => {
  const sentence = { words: 3, scores: [scores(TIME, CITY_NAME), scores(INSIDE, OUTSIDE), scores(OUTSIDE, CITY)] };
  const draft = (begun) => [...begun, ...flat.draft(sentence, begun, noHints()).ids];
  assert.deepEqual(draft([]), target("time", "I", "O"));
  assert.deepEqual(draft([codec.sentinels[0], codec.word("city")[0]]), target("city_name", "I", "O"));
  // No tag continues `O`.
  assert.deepEqual(draft(target("O").slice(0, 1 + codec.word("O").length)), target("O", "O", "O"));
});

test("choices after the same tag overrule the drafter", () => {
  const sentence = { words: 3, scores: [scores(OUTSIDE, CITY), scores(OUTSIDE, CITY), scores(CITY, TIME)] };
  const { ids, slots } = flat.draft(sentence, [], noHints());
  assert.deepEqual(ids, target("O", "O", "city"));
  const chosen = [...ids];
  for (const { word, start } of slots) chosen[start] = grammar.ids[[TIME, OUTSIDE, TIME][word]][0];
  const hints = flat.hints(sentence, ids, slots, 0, chosen);
  assert.deepEqual([hints.tags.get(0), hints.tags.get(2)], [{ tag: TIME, previous: OUTSIDE }, { tag: TIME, previous: OUTSIDE }]);
  const begun = target("time").slice(0, 1 + grammar.ids[TIME].length);
  assert.deepEqual([...begun, ...flat.draft(sentence, begun, hints).ids], target("time", "O", "time"));
});

test("a target out of order continues with the decoder's choices and then repeats itself", () => {
  const sentence = { words: 3, scores: [] };
  const words = (...at) => at.flatMap((word) => [codec.sentinels[word], ...grammar.ids[OUTSIDE]]);
  const draft = (begun, choices = []) => without.draft(sentence, begun, { ...noHints(), ids: choices }).ids;
  const around = draft(words(0, 1, 1, 1));
  assert.deepEqual([around.slice(0, words(1, 1, 1).length), around.length], [words(1, 1, 1), ASTRAY]);
  const choices = [...words(2, 0), codec.eos, ...words(7)];
  const expected = words(2, 0, 1, 2);
  assert.deepEqual(draft(words(0, 1, 1), choices).slice(0, expected.length), expected);
});

test("repeated ids are repeated again", () => {
  const more = (...ids) => extended(ids, ids.length + 5, repeated).slice(ids.length);
  assert.deepEqual(more(7, 8, 9, 7, 8), [9, 7, 8, 9, 7]);
  assert.deepEqual(more(5, 5, 5), [5, 5, 5, 5, 5]);
  assert.deepEqual([more(7, 8, 9), more(7)], [[], []]);
});
