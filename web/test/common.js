import { readFileSync } from "node:fs";
import { Codec } from "../src/codec.js";
import { Grammar } from "../src/grammar.js";

const tokenizer = new URL("../../fixtures/backbones/t5-nano/tokenizer.json", import.meta.url);

/** The vocabulary of T5. */
export const codec = new Codec(JSON.parse(readFileSync(tokenizer, "utf8")));

/** A grammar in which the ids of `city` begin those of `city_name`. */
export const grammar = new Grammar(codec, ["city", "city_name", "time"]);

/** The target of these sBIO tags. */
export function target(...tags) {
  return [...tags.flatMap((tag, at) => [codec.sentinels[at], ...codec.word(tag)]), codec.sentinels[tags.length], codec.eos];
}
