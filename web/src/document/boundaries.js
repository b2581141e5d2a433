import { converter } from "../offsets.js";
import { isAlphabetic, isNumeric, isWhitespace } from "../words.js";

/** Only the word before ends. */
export const WORD = 0;
/** A clause ends: the word before ends in a mark. */
export const CLAUSE = 1;
/** A sentence or a paragraph ends. */
export const SENTENCE = 2;

/** Lines of a paragraph without one of this many characters are not wrapped text, but lines that were meant. */
const WRAPPED_WIDTH = 40;
/** Abbreviations after which a name or a number usually follows. Capitalized ones without a vowel are known by that, too. */
const ABBREVIATIONS = new Set(
  "capt co col corp dr fig gen gov inc lt ltd mr mrs ms no prof rep rev sen st vol vs".split(" "),
);
/** The longest abbreviation in characters, with brackets or quotes before it. */
const ABBREVIATION = 12;
/** Characters at which a clause ends. */
const CLAUSE_ENDS = new Set(",;:.!?\u2026\u2013\u2014)\u3001\u3002\uff0c\uff1b\uff1a\u060c\u061b");
/** Characters that break a line. */
const LINE_BREAKS = new Set("\n\r\v\f\u0085\u2028\u2029");

/** @param {string} c */
const isUppercase = (c) => /\p{Uppercase}/u.test(c);
/** @param {string} c */
const isLowercase = (c) => /\p{Lowercase}/u.test(c);

/**
 * What ends before each word of a text: {@link WORD}, {@link CLAUSE} or {@link SENTENCE}. A sentence ends before the first word.
 * The rules are those of `hl-run` (docs/documents.md); sentences are those of `Intl.Segmenter`, which follows UAX 29.
 *
 * @param {string} text
 * @param {import("../words.js").Word[]} words
 * @returns {number[]}
 */
export function boundaries(text, words) {
  const chars = unwrapped(text);
  const hasCase = chars.some(isUppercase);
  const characters = converter(text, "chars");
  const places = words.map(({ start, end }) => ({ start: characters(start), end: characters(end) }));
  const found = places.map((after, at) => (at === 0 ? SENTENCE : between(chars, places[at - 1], after, hasCase)));
  let end = 0;
  let next = 0;
  for (const segment of sentences(chars.join(""))) {
    end += Array.from(segment).length;
    while (next < places.length && places[next].start < end) next += 1;
    if (next === 0 || next === places.length) continue;
    const before = places[next - 1];
    // No word is cut.
    if (before.end <= end && !goesOn(chars, before.end, hasCase)) found[next] = SENTENCE;
  }
  return found;
}

/**
 * The sentences of a text by UAX 29. Each line has its own, and V8 takes quadratic time for a long text.
 *
 * @param {string} text
 */
function* sentences(text) {
  const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });
  for (const line of text.split(/(?<=\n)/)) {
    for (const { segment } of segmenter.segment(line)) yield segment;
  }
}

/**
 * What ends between two words, apart from what UAX 29 says.
 *
 * @param {string[]} chars
 * @param {{ start: number, end: number }} before
 * @param {{ start: number, end: number }} after
 * @param {boolean} hasCase
 */
function between(chars, before, after, hasCase) {
  const gap = chars.slice(before.end, after.start);
  if (gap.some((c) => LINE_BREAKS.has(c))) return SENTENCE;
  const last = chars[before.end - 1];
  const isApart = before.end < 2 || isWhitespace(chars[before.end - 2]);
  const stops = last === "." && gap.length > 0 && (isApart || !hasCase);
  if (stops && !goesOn(chars, before.end, hasCase)) return SENTENCE;
  return CLAUSE_ENDS.has(last) ? CLAUSE : WORD;
}

/**
 * The lines of `chars`, without their ends, as ranges.
 *
 * @param {string[]} chars
 */
function linesOf(chars) {
  const lines = [{ start: 0, end: 0 }];
  chars.forEach((c, at) => {
    if (c === "\n") lines.push({ start: at + 1, end: at + 1 });
    else lines[lines.length - 1].end = at + 1;
  });
  return lines;
}

/**
 * The characters of `text` with spaces for line breaks that only wrap a paragraph: those before a word that would have made the line
 * longer than the paragraph's longest.
 *
 * @param {string} text
 */
function unwrapped(text) {
  const chars = Array.from(text);
  /** @type {{ start: number, end: number }[][]} */
  const paragraphs = [[]];
  for (const line of linesOf(chars)) {
    if (chars.slice(line.start, line.end).every(isWhitespace)) paragraphs.push([]);
    else paragraphs[paragraphs.length - 1].push(line);
  }
  for (const lines of paragraphs) {
    const written = lines.map(({ start, end }) => {
      let last = end;
      while (last > start && isWhitespace(chars[last - 1])) last -= 1;
      return last - start;
    });
    const longest = written.reduce((most, width) => Math.max(most, width), 0);
    if (longest < WRAPPED_WIDTH) continue;
    lines.slice(1).forEach(({ start, end }, at) => {
      const line = chars.slice(start, end);
      const first = line.findIndex((c) => !isWhitespace(c));
      const rest = line.slice(first).findIndex(isWhitespace);
      const length = rest < 0 ? line.length - first : rest;
      if (written[at] + 1 + length > longest) unbreak(chars, lines[at].end);
    });
  }
  return chars;
}

/**
 * Puts a space for the line break at `at`.
 *
 * @param {string[]} chars
 * @param {number} at
 */
function unbreak(chars, at) {
  chars[at] = " ";
  if (at > 0 && chars[at - 1] === "\r") chars[at - 1] = " ";
}

/**
 * Whether the token of `chars` before `end` ends in a full stop that may be inside a name, a date or a number.
 *
 * @param {string[]} chars
 * @param {number} end
 * @param {boolean} hasCase
 */
function goesOn(chars, end, hasCase) {
  if (chars[end - 1] !== ".") return false;
  const before = end - 1;
  const near = chars.slice(Math.max(0, before - ABBREVIATION), before);
  let start = near.length;
  while (start > 0 && !isWhitespace(near[start - 1])) start -= 1;
  if (start === 0 && near.length < before) return false;
  let token = near.slice(start);
  const opening = token.findIndex((c) => isAlphabetic(c) || isNumeric(c));
  token = opening < 0 ? [] : token.slice(opening);
  const isCapitalized = token.length > 0 && isUppercase(token[0]) && token.slice(1).every(isLowercase);
  const stem = token.join("").toLowerCase();
  const letters = Array.from(stem);
  if (letters.length <= 1) return letters.length === 1;
  if (letters.every(isNumeric)) return true;
  // `U.S.`, `a.m.`
  if (stem.split(".").every((part) => Array.from(part).length === 1)) return true;
  if (letters.length <= 4 && isCapitalized && !/[aeiouy\u00e4\u00f6\u00fc]/u.test(stem)) return true;
  return (isCapitalized || !hasCase) && ABBREVIATIONS.has(stem);
}
