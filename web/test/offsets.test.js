import assert from "node:assert/strict";
import { test } from "node:test";
import { converter } from "../src/offsets.js";

test("offsets count code units, characters or bytes", () => {
  const text = "a\u00e9\u20ac\u{1f600}z";
  const places = [0, 1, 2, 3, 5, 6];
  assert.deepEqual(places.map(converter(text, "utf16")), places);
  assert.deepEqual(places.map(converter(text, "chars")), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(places.map(converter(text, "bytes")), [0, 1, 3, 6, 10, 11]);
});
