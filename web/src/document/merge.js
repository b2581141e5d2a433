import { toBio } from "../spans.js";

/** @typedef {import("./plan.js").Part} Part */
/** @typedef {{ start: number, end: number }} Range */

/**
 * The words that each part decides. Two windows are joined where no span of either is cut, as far as possible from the ends of both.
 *
 * @param {Part[]} parts
 * @param {string[][]} bio The tags of each part.
 * @returns {Range[]}
 */
export function decided(parts, bio) {
  const ranges = parts.map(({ start, end }) => ({ start, end }));
  parts.forEach((part, next) => {
    if (!part.continues) return;
    const at = next - 1;
    const cuts = (/** @type {number} */ of, /** @type {number} */ place) => {
      const inside = place - parts[of].start;
      return inside > 0 && inside < bio[of].length && bio[of][inside].startsWith("I-");
    };
    const rank = (/** @type {number} */ place) => {
      const fromEnds = Math.min(parts[at].end - place, Math.max(0, place - part.start));
      return (cuts(at, place) || cuts(next, place) ? 0 : parts[at].end + 1) + fromEnds;
    };
    let best = Math.max(part.start, ranges[at].start);
    for (let place = best; place <= parts[at].end; place += 1) if (rank(place) >= rank(best)) best = place;
    ranges[at].end = best;
    ranges[next].start = best;
  });
  return ranges;
}

/**
 * The BIO tags of all words: what the parts of a sentence wrote is read as if one part had written it. Words in no part are `O`.
 *
 * @param {Part[]} parts
 * @param {Range[]} ranges The words that each part decides.
 * @param {string[][]} written What each part wrote.
 * @param {number} words
 */
export function merged(parts, ranges, written, words) {
  /** @type {string[]} */
  const bio = new Array(words).fill("O");
  for (let at = 0, next; at < parts.length; at = next) {
    next = at + 1;
    while (next < parts.length && parts[next].continues) next += 1;
    const tags = [];
    for (let part = at; part < next; part += 1) {
      const { start } = parts[part];
      tags.push(...written[part].slice(ranges[part].start - start, ranges[part].end - start));
    }
    toBio(tags).forEach((tag, word) => (bio[parts[at].start + word] = tag));
  }
  return bio;
}
