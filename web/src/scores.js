/**
 * The score of a tag, a span or a sentence: the logarithm of its probability, and the least margin of its ids.
 *
 * @typedef {import("./row.js").IdScore} Score
 */

/**
 * A map from probabilities to calibrated scores (docs/scores.md#calibration).
 *
 * @typedef {{ a: number, b: number, c: number }} ScoreMap
 */

/** Scores nearer to 0 or 1 are mapped as this one. */
const LEAST = 1e-6;

/** The score of a tag that the model did not write. @type {Readonly<Score>} */
const NOT_WRITTEN = Object.freeze({ logProbability: -Infinity, margin: 0 });

/** @param {Score} score */
export const probability = ({ logProbability }) => Math.min(1, Math.exp(logProbability));

/**
 * The score of several parts: the product of their probabilities and their least margin.
 *
 * @param {Score[]} parts
 * @returns {Score}
 */
export function product(parts) {
  return parts.reduce(
    (all, part) => ({
      logProbability: all.logProbability + part.logProbability,
      margin: Math.min(all.margin, part.margin),
    }),
    { logProbability: 0, margin: Infinity },
  );
}

/**
 * The score of what was written for each word. The id after a place belongs to it, if there is one.
 *
 * @param {({ start: number, end: number } | undefined)[]} places
 * @param {Score[]} ids
 */
export function wordScores(places, ids) {
  return places.map((place) => (place && place.start <= ids.length ? product(ids.slice(place.start, place.end + 1)) : NOT_WRITTEN));
}

/**
 * The score of each BIO tag. An `I` has the label of the word that begins its span, so it has the product of the span's words.
 *
 * @param {string[]} bio
 * @param {Score[]} words
 */
export function tagScores(bio, words) {
  /** @type {Score[]} */
  const scores = [];
  bio.forEach((tag, at) => scores.push(at > 0 && tag.startsWith("I-") ? product([scores[at - 1], words[at]]) : words[at]));
  return scores;
}

/**
 * The calibrated score of a probability. 0, the score of what the model did not write, stays 0.
 *
 * @param {ScoreMap | undefined} map
 * @param {number} score
 */
export function calibrated(map, score) {
  if (!map || score <= 0) return score;
  const near = Math.min(Math.max(score, LEAST), 1 - LEAST);
  const logit = map.a * Math.log(near) - map.b * Math.log1p(-near) + map.c;
  return 1 / (1 + Math.exp(-logit));
}
