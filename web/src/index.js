/** @typedef {import("./tagger.js").Tagged} Tagged */
/** @typedef {import("./tagger.js").Span} Span */
/** @typedef {import("./tagger.js").TagScore} TagScore */
/** @typedef {import("./tagger.js").TagOptions} TagOptions */
/** @typedef {import("./tagger.js").OpenOptions} OpenOptions */
/** @typedef {import("./words.js").Word} Word */
/** @typedef {import("./offsets.js").OffsetUnit} OffsetUnit */
/** @typedef {import("./errors.js").ErrorCode} ErrorCode */

export { HyperloaderError } from "./errors.js";
export { Tagger } from "./tagger.js";
