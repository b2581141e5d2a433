"use strict";

const COLORS = 8;
const element = (id) => document.getElementById(id);
let labels = [];
let answer = null;
let request = null;

/** Headers of a request, with the API key if there is one. */
function headers(more) {
  const key = element("key").value.trim();
  return key ? { ...more, "X-API-Key": key } : { ...more };
}

/** A new element with a class and text. */
function made(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function color(label) {
  if (!labels.includes(label)) labels.push(label);
  return `color-${labels.indexOf(label) % COLORS}`;
}

function say(text, isFault) {
  const status = element("status");
  status.textContent = text;
  status.classList.toggle("fault", Boolean(isFault));
}

/** The message of an answer that is an error. */
async function fault(response) {
  try {
    const { error } = await response.json();
    return error.hint ? `${error.message} (${error.hint})` : error.message;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

async function loadModels() {
  const select = element("model");
  try {
    const response = await fetch("models", { headers: headers() });
    if (!response.ok) {
      say(await fault(response), true);
      return false;
    }
    const { models } = await response.json();
    const chosen = select.value;
    select.replaceChildren(...models.map(({ name }) => {
      const option = made("option", "", name);
      option.value = name;
      return option;
    }));
    if (models.some(({ name }) => name === chosen)) select.value = chosen;
    return true;
  } catch (error) {
    say(`The server cannot be reached: ${error.message}`, true);
    return false;
  }
}

/** A text with its spans marked. Offsets count characters, as arrays of code points do. */
function marked(result, withScores) {
  const item = made("li");
  if (result.error) {
    item.append(made("span", "fault", `${result.error.message}: `), result.text);
    return item;
  }
  const characters = Array.from(result.text);
  let end = 0;
  for (const span of result.spans) {
    item.append(characters.slice(end, span.start).join(""));
    const mark = made("mark", color(span.label), span.text);
    const hasScore = withScores && span.score !== undefined;
    const score = hasScore ? ` ${Math.round(1000 * span.score) / 10} %` : "";
    mark.append(made("span", "label", `${span.label}${span.unknown ? "?" : ""}${score}`));
    item.append(mark);
    end = span.end;
  }
  item.append(characters.slice(end).join(""));
  if (result.abstained) item.append(made("p", "help", "The tags are withheld: they are too uncertain."));
  if (result.withheld) item.append(made("p", "help", `Spans withheld because they are too uncertain: ${result.withheld}`));
  for (const warning of result.warnings || []) item.append(made("p", "help", warning));
  return item;
}

function show() {
  labels = [];
  const withScores = element("scores").checked;
  element("results").replaceChildren(...answer.results.map((result) => marked(result, withScores)));
  element("legend").replaceChildren(...labels.map((label) => {
    const item = made("li");
    item.append(made("span", `label ${color(label)}`, label));
    return item;
  }));
  element("json").textContent = JSON.stringify(answer, null, 2);
  element("copy-json").disabled = false;
  element("copy-curl").disabled = false;
}

/** Milliseconds of the steps that the server names in `Server-Timing`. */
function timings(response) {
  const found = {};
  for (const step of (response.headers.get("server-timing") || "").split(",")) {
    const [, name, duration] = step.match(/^\s*(\w+);dur=([\d.]+)/) || [];
    if (name) found[name] = Number(duration).toFixed(1);
  }
  return found;
}

async function tag() {
  const texts = element("text").value.split("\n").filter((text) => text.trim());
  if (!texts.length) {
    say("Enter a text.", true);
    element("text").focus();
    return;
  }
  if (!element("model").value && !(await loadModels())) return;
  request = { model: element("model").value, texts };
  say("Tagging …");
  element("tag").disabled = true;
  const began = performance.now();
  try {
    const response = await fetch("tag", {
      method: "POST",
      headers: headers({ "Content-Type": "application/json" }),
      body: JSON.stringify(request),
    });
    const total = (performance.now() - began).toFixed(1);
    if (!response.ok) {
      say(await fault(response), true);
      return;
    }
    answer = await response.json();
    const spans = answer.results.reduce((sum, { spans }) => sum + (spans ? spans.length : 0), 0);
    const { queue, tag } = timings(response);
    show();
    say(`${texts.length} texts, ${spans} spans in ${total} ms: ${queue} ms in the queue, ${tag} ms of tagging.`);
  } catch (error) {
    say(`The server cannot be reached: ${error.message}`, true);
  } finally {
    element("tag").disabled = false;
  }
}

/** Text in single quotes of a shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl() {
  const url = new URL("tag", document.baseURI).href;
  const key = element("key").value.trim() ? " -H \"X-API-Key: $API_KEY\"" : "";
  return `curl ${quoted(url)}${key} -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(request))}`;
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers give the clipboard to pages on HTTPS and on this machine only.
    const area = made("textarea", "", text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`Copied as ${what}.`);
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  tag();
});
element("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    tag();
  }
});
element("scores").addEventListener("change", () => answer && show());
element("key").addEventListener("change", loadModels);
element("copy-json").addEventListener("click", () => copy(JSON.stringify(answer, null, 2), "JSON"));
element("copy-curl").addEventListener("click", () => copy(curl(), "curl"));
loadModels();
