/**
 * A word of a text.
 *
 * @typedef {object} Word
 * @property {string} text The word as the model reads it, in lower case if the task asks for it.
 * @property {number} start Its first UTF-16 code unit in the text.
 * @property {number} end The code unit after its last one.
 */

/**
 * How a task's corpus splits text into words. The rules are those of docs/file-format.md#words.
 *
 * @typedef {{ rule: string, lowercase: boolean }} WordSplitting
 */

/** The rules that this module has. Node and browsers have no word boundaries of UAX 29 without dictionaries: `unicode` is not among them. */
export const RULES = ["whitespace", "punctuation", "clitics"];

/** @param {string} c */
export const isWhitespace = (c) => /[\p{White_Space}\x1c-\x1f]/u.test(c);
/** @param {string} c */
export const isAlphabetic = (c) => /\p{Alphabetic}/u.test(c);
/** @param {string} c */
export const isNumeric = (c) => /\p{N}/u.test(c);
/** @param {string} c */
const isApostrophe = (c) => c === "'" || c === "\u2019";

/**
 * Whether `c` may be a word of its own: punctuation but for `_`, currency and mathematical signs, other symbols of Latin-1.
 *
 * @param {string} c
 */
function isMark(c) {
  return (/[\p{P}\p{Sc}\p{Sm}]/u.test(c) && c !== "_") || (/[\p{Sk}\p{So}]/u.test(c) && c <= "\u00bf");
}

/**
 * Whether the character at `at` is a mark that nothing ties to both its neighbors.
 *
 * @param {string[]} chars
 * @param {number} at
 */
function standsAlone(chars, at) {
  const c = chars[at];
  /** @param {(c: string) => boolean} is */
  const both = (is) => at > 0 && is(chars[at - 1]) && at + 1 < chars.length && is(chars[at + 1]);
  const isTied =
    c === "." || isApostrophe(c)
      ? both(isAlphabetic) || both(isNumeric)
      : (c === "," || c === ";") && both(isNumeric);
  return isMark(c) && !isTied;
}

/**
 * @param {string[]} chars
 * @param {number} at
 */
function endsWord(chars, at) {
  return at >= chars.length || isWhitespace(chars[at]) || standsAlone(chars, at);
}

/**
 * Whether a final `'s` after a letter begins at `at`.
 *
 * @param {string[]} chars
 * @param {number} at
 */
function opensClitic(chars, at) {
  const isS = chars[at + 1] === "s" || chars[at + 1] === "S";
  return isApostrophe(chars[at]) && isAlphabetic(chars[at - 1]) && isS && endsWord(chars, at + 2);
}

/**
 * Whether the word so far is a number and a final `am` or `pm` begins at `at`.
 *
 * @param {string[]} chars
 * @param {number} start
 * @param {number} at
 */
function opensHalfDay(chars, start, at) {
  const isNumber = chars.slice(start, at).every((c) => c >= "0" && c <= "9");
  return isNumber && /^[AaPp]$/.test(chars[at]) && /^[Mm]$/.test(chars[at + 1] ?? "") && endsWord(chars, at + 2);
}

/**
 * Whether the word that began at `start` ends before the character at `at`.
 *
 * @param {string} rule
 * @param {string[]} chars
 * @param {number} start
 * @param {number} at
 */
function cuts(rule, chars, start, at) {
  if (isWhitespace(chars[at])) return true;
  if (rule === "whitespace") return false;
  if (standsAlone(chars, at) || standsAlone(chars, at - 1)) return true;
  return rule === "clitics" && (opensClitic(chars, at) || opensHalfDay(chars, start, at));
}

/**
 * The words of a text.
 *
 * @param {string} text
 * @param {WordSplitting} splitting
 * @returns {Word[]}
 */
export function splitWords(text, { rule, lowercase }) {
  const chars = Array.from(text);
  const words = [];
  let offset = 0;
  for (let start = 0, end = 0; start < chars.length; start = end) {
    end = start + 1;
    const isWord = !isWhitespace(chars[start]);
    while (isWord && end < chars.length && !cuts(rule, chars, start, end)) end += 1;
    const word = chars.slice(start, end).join("");
    if (isWord) words.push({ text: lowercase ? word.toLowerCase() : word, start: offset, end: offset + word.length });
    offset += word.length;
  }
  return words;
}
