import assert from "node:assert/strict";
import { test } from "node:test";
import { INSIDE, OUTSIDE } from "../src/grammar.js";
import { readTarget } from "../src/read-target.js";
import { codec, grammar, target } from "./common.js";

test("a tag that begins another is complete and may go on", () => {
  const city = codec.word("city");
  assert.equal(grammar.tag(city), 2);
  assert.deepEqual(grammar.tagsFrom(city), [2, 3]);
  const begun = [codec.sentinels[0], ...city];
  const next = grammar.next(begun, 2);
  assert.ok(next.includes(codec.sentinels[1]) && next.includes(codec.word("city_name")[city.length]), String(next));
});

test("only the next sentinel, a tag, or the end continues a target", () => {
  const whole = target("O", "time");
  whole.forEach((id, at) => assert.ok(grammar.next(whole.slice(0, at), 2).includes(id), String(at)));
  assert.deepEqual(grammar.next([], 2), [codec.sentinels[0]]);
  assert.deepEqual(grammar.next(whole.slice(0, -1), 2), [codec.eos]);
  assert.ok(grammar.mayFollow(INSIDE, 2) && !grammar.mayFollow(INSIDE, OUTSIDE));
});

test("sentinels out of order are found", () => {
  const [zero, one, two] = codec.sentinels;
  assert.ok(grammar.isInOrder([], 2) && grammar.isInOrder([zero, 5, one], 2) && grammar.isInOrder([zero, one, two], 2));
  assert.ok(!grammar.isInOrder([one], 2) && !grammar.isInOrder([zero, zero], 2) && !grammar.isInOrder([zero, one, two, 5], 2));
});

test("a target gives one tag for each word, and where it stands", () => {
  const { written, places } = readTarget(grammar, target("city_name", "I", "O"), 4);
  assert.deepEqual(written, ["city_name", "I", "O", "O"]);
  assert.equal(places[3], undefined);
  assert.deepEqual(places[0], { start: 1, end: 1 + codec.word("city_name").length });
});

test("what is no tag of the task is read as text", () => {
  const { written, places } = readTarget(grammar, target("wake", "O"), 2);
  assert.deepEqual([written, places.map((place) => place !== undefined)], [["wake", "O"], [true, true]]);
  // Two words between two sentinels: the places of words are not known.
  const two = [codec.sentinels[0], ...codec.word("wake"), ...codec.word("me"), codec.sentinels[1], codec.eos];
  assert.deepEqual(readTarget(grammar, two, 2), { written: ["wake", "me"], places: [undefined, undefined] });
});

test("each word has the tag of the word before", () => {
  const begun = target("time", "O").slice(0, 1 + codec.word("time").length);
  assert.equal(grammar.nextRepeated(begun), codec.sentinels[1]);
  assert.equal(grammar.nextRepeated([...begun, codec.sentinels[1]]), codec.word("time")[0]);
  assert.equal(grammar.nextRepeated([]), undefined);
});
