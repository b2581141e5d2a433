/** @typedef {import("./words.js").Word} Word */

/**
 * BIO tags of sBIO tags: a tag that is neither `O` nor `I` opens `B-tag`, the run of `I` right after it is `I-tag`, an `I` elsewhere
 * is `O`.
 *
 * @param {string[]} tags
 */
export function toBio(tags) {
  /** @type {string | undefined} */
  let open;
  return tags.map((tag) => {
    if (tag === "I") return open === undefined ? "O" : `I-${open}`;
    open = tag === "O" ? undefined : tag;
    return open === undefined ? "O" : `B-${open}`;
  });
}

/**
 * The spans of well-formed BIO tags: words from `first` to before `end`.
 *
 * @param {string[]} bio
 */
export function toSpans(bio) {
  /** @type {{ first: number, end: number, label: string }[]} */
  const spans = [];
  bio.forEach((tag, word) => {
    if (tag.startsWith("B-")) spans.push({ first: word, end: word + 1, label: tag.slice(2) });
    if (tag.startsWith("I-")) spans[spans.length - 1].end = word + 1;
  });
  return spans;
}
