import assert from "node:assert/strict";

/** The largest difference of two scores. */
const TOLERANCE = 1e-3;
/** The units of offsets that `hl-run` and the module have. */
export const UNITS = ["chars", "bytes", "utf16"];

/** Spans without their scores. */
const plain = (spans) => spans.map(({ start, end, label, text }) => [start, end, label, text]);
const largest = (numbers) => numbers.reduce((most, number) => Math.max(most, number), 0);

/** The scores of a result of the module, and those of a line of `hl-run`, in the same order. */
const ourScores = ({ score, spans, tagScores }) => [score, ...spans.map((span) => span.score), ...tagScores.map((tag) => tag.score)];
const theirScores = ({ score, spans, tag_scores }) => [score, ...spans.map((span) => span.score), ...tag_scores.map((tag) => tag.score)];

/**
 * Compares what the module found, by unit of offsets, with the lines of `hl-run`. Exact results have equal spans and close scores in
 * each text; others are counted. Returns a line for people.
 */
export function compare(found, expected, isExact) {
  let equal = 0;
  let spans = 0;
  let worst = 0;
  for (const unit of UNITS) {
    assert.equal(found[unit].length, expected[unit].length);
    found[unit].forEach((ours, at) => {
      const theirs = expected[unit][at];
      assert.equal(ours.text, theirs.text);
      for (const { start, end, text } of unit === "utf16" ? ours.spans : []) assert.equal(ours.text.slice(start, end), text);
      const isEqual = JSON.stringify(plain(ours.spans)) === JSON.stringify(plain(theirs.spans));
      if (isExact) assert.deepEqual(plain(ours.spans), plain(theirs.spans), `${unit}: ${JSON.stringify(ours.text)}`);
      if (unit !== UNITS[0] || !isEqual) return;
      equal += 1;
      spans += ours.spans.length;
      const theirs_ = theirScores(theirs);
      worst = Math.max(worst, largest(ourScores(ours).map((score, index) => Math.abs(score - theirs_[index]))));
    });
  }
  const { length } = found[UNITS[0]];
  if (isExact) assert.ok(worst <= TOLERANCE, `scores differ by ${worst}`);
  // Int8 rounds at edges otherwise on other processors: docs/browser.md#equal-results.
  else assert.ok(equal >= 0.97 * length, `${equal} of ${length} texts have the spans of hl-run`);
  return `${equal} of ${length} texts have the spans of hl-run (${spans} spans), scores differ by at most ${worst.toExponential(1)}`;
}
