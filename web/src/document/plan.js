import { CLAUSE, SENTENCE } from "./boundaries.js";

/**
 * Words that are tagged together, and whether they are a further window of the sentence that the part before has.
 *
 * @typedef {{ start: number, end: number, continues: boolean }} Part
 */

/**
 * How many words training sentences have: the 50th percentile and the 99th.
 *
 * @typedef {{ median: number, p99: number }} SentenceWords
 */

/** @typedef {{ words: number, tokens: number, trained?: SentenceWords }} Limits */

/** Most words that two windows of a sentence share. */
const OVERLAP = 16;
/** Windows share at most one word in this many. */
const SHARE = 3;
/** The same for windows as long as training sentences. They are short, so spans often lie at their ends. */
const SHARE_OF_MEDIAN_WINDOWS = 2;

/**
 * The parts of words that take `lengths` tokens, and the words that are in no part because they take more tokens than a part may have.
 *
 * @param {number[]} lengths
 * @param {number[]} boundaries What ends before each word.
 * @param {Limits} limits
 */
export function plan(lengths, boundaries, limits) {
  /** @type {Part[]} */
  const parts = [];
  /** @type {number[]} */
  const unread = [];
  for (let start = 0; start < lengths.length; ) {
    if (lengths[start] > limits.tokens) {
      unread.push(start);
      start += 1;
      continue;
    }
    let end = start + 1;
    while (end < lengths.length && boundaries[end] !== SENTENCE && lengths[end] <= limits.tokens) end += 1;
    parts.push(...windows(start, end, lengths, boundaries, limits));
    start = end;
  }
  return { parts, unread };
}

/**
 * The windows of one sentence, each as long as the limits allow. A sentence longer than almost all training sentences, probably several
 * whose ends nothing marks, has windows as long as a usual one.
 *
 * @param {number} first
 * @param {number} last
 * @param {number[]} lengths
 * @param {number[]} boundaries
 * @param {Limits} most
 */
function windows(first, last, lengths, boundaries, most) {
  const { trained } = most;
  const isLong = trained !== undefined && last - first > trained.p99;
  const limits = isLong ? { ...most, words: Math.min(most.words, trained.median) } : most;
  const share = isLong ? SHARE_OF_MEDIAN_WINDOWS : SHARE;
  /** @type {Part[]} */
  const parts = [];
  const furthestFrom = (/** @type {number} */ start) => furthest(start, last, lengths, limits);
  // Where the window before ended.
  let covered = first;
  for (let start = first; ; ) {
    let end = furthestFrom(start);
    if (end < last) {
      // The end of a clause is better than a place inside one.
      const least = Math.max(covered, end - OVERLAP, start + Math.floor((end - start) / 2)) + 1;
      let clause = end;
      while (clause >= least && boundaries[clause] < CLAUSE) clause -= 1;
      if (clause >= least) end = clause;
    }
    parts.push({ start, end, continues: start > first });
    if (end === last) return parts;
    // The next window must reach further, and a word is in at most two windows. A word alone always fits.
    start = Math.max(covered, end - Math.min(OVERLAP, Math.floor((end - start) / share)));
    while (start < end && furthestFrom(start) <= end) start += 1;
    covered = end;
  }
}

/**
 * The end of the longest part from `start`, at most `end`.
 *
 * @param {number} start
 * @param {number} end
 * @param {number[]} lengths
 * @param {Limits} limits
 */
function furthest(start, end, lengths, limits) {
  let tokens = 0;
  let at = start;
  while (at < end && at - start < limits.words && tokens + lengths[at] <= limits.tokens) {
    tokens += lengths[at];
    at += 1;
  }
  return at;
}
