import assert from "node:assert/strict";
import { test } from "node:test";
import { Row } from "../src/row.js";

const limits = { eos: 1, maxTargetLen: 6, vocabSize: 99 };
const choices = (ids, faulty) => ({ ids, scores: ids.map((id) => ({ logProbability: -id, margin: 0 })), faulty });
/** A row with these drafted ids and no drafter. */
function rowWith(...ids) {
  const row = new Row({ words: 0, scores: [] }, limits, undefined);
  row.target.push(...ids);
  return row;
}

test("a row takes agreed ids and the first other id, and ends at the end or the limit", () => {
  const row = rowWith();
  assert.equal(row.undecidedEnd, 1);
  row.take(choices([9]));
  row.target.push(8, 7, 1);
  assert.deepEqual([row.accepted, row.undecidedEnd], [1, 4]);
  row.take(choices([8, 6, 5]));
  assert.deepEqual([row.target, row.ended], [[9, 8, 6], false]);
  row.target.push(5, 5, 5);
  assert.equal(row.undecidedEnd, 6);
  row.take(choices([5, 1, 5]));
  assert.deepEqual([row.target, row.ended, row.passes], [[9, 8, 6, 5, 1], true, 3]);
  assert.deepEqual(row.scores.map(({ logProbability }) => -logProbability), row.target);
  const endless = rowWith();
  for (let pass = 0; pass < 6; pass += 1) {
    assert.ok(!endless.ended);
    endless.take(choices([4]));
  }
  assert.ok(endless.ended);
});

test("a fault decides nothing after a wrong draft and ends the row elsewhere", () => {
  const taken = (at) => {
    const row = rowWith(9, 8, 7, 5, 1);
    row.take(choices([9, 8, 6, 5, 1], at));
    return [row.ended, row.isFaulty, row.accepted];
  };
  for (const at of [0, 1, 2]) assert.deepEqual(taken(at), [true, true, 0]);
  for (const at of [3, 4]) assert.deepEqual(taken(at), [false, false, 3]);
});

test("ids that the graph has no rows for are not drafted", () => {
  const drafter = { draft: () => ({ ids: [5, 99, 7], slots: [] }) };
  assert.deepEqual(new Row({ words: 1, scores: [] }, limits, drafter).target, [5]);
});
