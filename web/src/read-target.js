/** @typedef {import("./grammar.js").Grammar} Grammar */
/** @typedef {{ start: number, end: number }} Range */

/**
 * The ids between special ones, as ranges of `target`.
 *
 * @param {Grammar} grammar
 * @param {number[]} target
 */
function gaps(grammar, target) {
  /** @type {Range[]} */
  const found = [];
  target.forEach((id, at) => {
    if (grammar.isSpecial(id)) return;
    const last = found[found.length - 1];
    if (last?.end === at) last.end += 1;
    else found.push({ start: at, end: at + 1 });
  });
  return found;
}

/**
 * What a target says about each of `words` words, and where: the name of a tag or other text that the model wrote, and its ids,
 * `undefined` for a tag that is filled up. Tags go to words in their order. Too few are filled up with `O`, too many are cut.
 *
 * @param {Grammar} grammar
 * @param {number[]} target
 * @param {number} words
 * @returns {{ written: string[], places: (Range | undefined)[] }}
 */
export function readTarget(grammar, target, words) {
  const ranges = gaps(grammar, target);
  const of = (/** @type {Range} */ { start, end }) => target.slice(start, end);
  const tags = ranges.map((range) => grammar.tag(of(range)));
  const isKnown = tags.every((tag) => tag !== undefined);
  // Words may be split by white space or joined across sentinels: only the text tells.
  const texts = isKnown ? tags.map((tag) => grammar.names[/** @type {number} */ (tag)]) : grammar.codec.decodeWords(target);
  const areWords = () =>
    texts.length === ranges.length &&
    ranges.every((range, at) => {
      const alone = grammar.codec.decodeWords(of(range));
      return alone.length === 1 && alone[0] === texts[at];
    });
  const places = isKnown || areWords() ? ranges : [];
  const all = Array.from({ length: words }, (_, word) => word);
  return { written: all.map((word) => texts[word] ?? "O"), places: all.map((word) => places[word]) };
}
