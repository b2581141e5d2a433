import assert from "node:assert/strict";
import { test } from "node:test";
import { calibrated, probability, tagScores, wordScores } from "../src/scores.js";
import { toBio, toSpans } from "../src/spans.js";

const near = (a, b) => assert.ok(a === b || Math.abs(a - b) < 1e-9, `${a} ${b}`);

test("a word is scored by its ids and the id after them", () => {
  const ids = [[0.5, Infinity], [0.25, 3], [0.5, 2], [0.125, Infinity]].map(([p, margin]) => ({ logProbability: Math.log(p), margin }));
  const places = [{ start: 0, end: 1 }, undefined, { start: 1, end: 3 }, { start: 3, end: 4 }, { start: 9, end: 12 }];
  const expected = [[0.125, 3], [0, 0], [1 / 64, 2], [0.125, Infinity], [0, 0]];
  wordScores(places, ids).forEach((score, at) => {
    near(probability(score), expected[at][0]);
    near(score.margin, expected[at][1]);
  });
});

test("a tag that continues a span needs all words before it", () => {
  const words = [3, 2, 4, 1].map((margin) => ({ logProbability: Math.log(0.5), margin }));
  const found = tagScores(["B-a", "I-a", "I-a", "O"], words);
  assert.deepEqual(found.map((score) => [Math.round(64 * probability(score)), score.margin]), [[32, 3], [16, 2], [8, 2], [32, 1]]);
});

test("the map of a calibration keeps 0, and the identity keeps all", () => {
  const identity = { a: 1, b: 1, c: 0 };
  for (const score of [0, 0.25, 0.9]) near(calibrated(identity, score), score);
  assert.equal(calibrated({ a: 0, b: 1, c: 3 }, 0), 0);
  assert.equal(calibrated(undefined, 0.3), 0.3);
});

test("I continues a span and counts as O elsewhere", () => {
  const bio = toBio(["I", "a", "I", "b", "O", "I", "I-x"]);
  assert.deepEqual(bio, ["O", "B-a", "I-a", "B-b", "O", "O", "B-I-x"]);
  assert.deepEqual(toSpans(bio).map(({ first, end, label }) => [first, end, label]), [[1, 3, "a"], [3, 4, "b"], [6, 7, "I-x"]]);
});
