/**
 * The unit of offsets: UTF-16 code units as in JavaScript's strings, Unicode characters (code points), or bytes of UTF-8.
 *
 * @typedef {"utf16" | "chars" | "bytes"} OffsetUnit
 */

/** @type {readonly OffsetUnit[]} */
export const UNITS = ["utf16", "chars", "bytes"];

/**
 * Bytes of a code point in UTF-8.
 *
 * @param {number} point
 */
function bytesOf(point) {
  if (point < 0x80) return 1;
  if (point < 0x800) return 2;
  return point < 0x10000 ? 3 : 4;
}

/**
 * A function from offsets in UTF-16 code units to those in `unit`. The offsets are at the borders of characters.
 *
 * @param {string} text A text without lone surrogates.
 * @param {OffsetUnit} unit
 * @returns {(offset: number) => number}
 */
export function converter(text, unit) {
  if (unit === "utf16") return (offset) => offset;
  const found = new Uint32Array(text.length + 1);
  let sum = 0;
  for (let at = 0; at < text.length; ) {
    const point = /** @type {number} */ (text.codePointAt(at));
    sum += unit === "chars" ? 1 : bytesOf(point);
    at += point > 0xffff ? 2 : 1;
    found[at] = sum;
  }
  return (offset) => found[offset];
}
