import { Tagger } from "./hyperloader/index.js";

/** @typedef {import("../src/tagger.js").Tagged} Tagged */
/** @typedef {import("../src/errors.js").HyperloaderError} HyperloaderError */
/** @typedef {{ text: string, result: Tagged | HyperloaderError, milliseconds: number }} Line */

const COLORS = 8;
const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const text = /** @type {HTMLTextAreaElement} */ (element("text"));
const button = /** @type {HTMLButtonElement} */ (element("tag"));
const copyButton = /** @type {HTMLButtonElement} */ (element("copy-json"));
const withScores = /** @type {HTMLInputElement} */ (element("scores"));
/** @type {string[]} */
let labels = [];
/** @type {Line[]} */
let lines = [];
/** @type {Tagger | undefined} */
let tagger;

/**
 * A new element with a class and text.
 *
 * @param {string} name
 * @param {string} [className]
 * @param {string} [content]
 */
function made(name, className = "", content = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.textContent = content;
  return node;
}

/** @param {string} label */
function color(label) {
  if (!labels.includes(label)) labels.push(label);
  return `color-${labels.indexOf(label) % COLORS}`;
}

/**
 * @param {string} message
 * @param {boolean} [isFault]
 */
function say(message, isFault = false) {
  element("status").textContent = message;
  element("status").classList.toggle("fault", isFault);
}

/** @param {unknown} error */
const reason = (error) => (error instanceof Error ? error.message : String(error));
const count = (/** @type {number} */ number, /** @type {string} */ noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/**
 * What may be missing in a result.
 *
 * @param {Tagged} tagged
 */
function warnings({ complete, unread, words }) {
  const found = unread.map((at) => `The word \u201c${words[at].text}\u201d is too long to be read.`);
  return complete ? found : ["The model did not finish: words at the end may lack their tags.", ...found];
}

/**
 * A text with its spans marked.
 *
 * @param {Line} line
 */
function marked({ text: whole, result, milliseconds }) {
  const item = made("li");
  if (result instanceof Error) {
    item.append(made("span", "fault", `${result.message}: `), whole);
    return item;
  }
  let end = 0;
  for (const span of result.spans) {
    item.append(whole.slice(end, span.start));
    const mark = made("mark", color(span.label), span.text);
    const score = withScores.checked ? ` ${Math.round(1000 * span.score) / 10} %` : "";
    mark.append(made("span", "label", `${span.label}${span.unknown ? "?" : ""}${score}`));
    item.append(mark);
    end = span.end;
  }
  item.append(whole.slice(end));
  const passes = result.passes === 1 ? "1 pass" : `${result.passes} passes`;
  for (const note of [`${milliseconds.toFixed(1)} ms, ${passes} of the decoder`, ...warnings(result)]) {
    item.append(made("p", "help", note));
  }
  return item;
}

/** The results as JSON, which has no numbers that are infinite. */
const asJson = () => JSON.stringify(lines.map(({ result }) => (result instanceof Error ? { error: result.message } : result)), null, 2);

function show() {
  labels = [];
  element("results").replaceChildren(...lines.map(marked));
  const entries = labels.map((label) => {
    const item = made("li");
    item.append(made("span", `label ${color(label)}`, label));
    return item;
  });
  element("legend").replaceChildren(...entries);
  element("json").textContent = asJson();
  copyButton.disabled = false;
}

async function tag() {
  const texts = text.value.split("\n").filter((line) => line.trim());
  if (!tagger) return;
  if (texts.length === 0) {
    say("Enter a text.", true);
    text.focus();
    return;
  }
  say("Tagging \u2026");
  button.disabled = true;
  try {
    const found = [];
    for (const line of texts) {
      const began = performance.now();
      const [result] = await tagger.tag([line], { errors: "return" });
      found.push({ text: line, result, milliseconds: performance.now() - began });
      // The page answers between two texts.
      await new Promise((next) => setTimeout(next));
    }
    lines = found;
    show();
    const spans = lines.reduce((sum, { result }) => sum + (result instanceof Error ? 0 : result.spans.length), 0);
    const milliseconds = lines.reduce((sum, line) => sum + line.milliseconds, 0);
    say(`${count(lines.length, "text")}, ${count(spans, "span")} in ${milliseconds.toFixed(1)} ms.`);
  } catch (error) {
    say(reason(error), true);
  } finally {
    button.disabled = false;
  }
}

async function load() {
  const began = performance.now();
  try {
    tagger = await Tagger.open(new URL(".", import.meta.url));
    const { task, labels: known } = tagger.metadata;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    element("about").append(` It finds ${count(known.length, "label")} of the task ${task} (${tagger.precision}).`);
    say(`The tagger is ready after ${seconds} s.`);
    button.disabled = false;
  } catch (error) {
    say(`The tagger cannot be loaded: ${reason(error)}`, true);
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText(asJson());
    say("Copied as JSON.");
  } catch (error) {
    say(`Cannot copy: ${reason(error)}`, true);
  }
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  void tag();
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !button.disabled) {
    event.preventDefault();
    void tag();
  }
});
withScores.addEventListener("change", () => lines.length > 0 && show());
copyButton.addEventListener("click", () => void copy());
void load();
