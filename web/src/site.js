import { HyperloaderError } from "./errors.js";
import { readMetadata } from "./metadata.js";

/**
 * How files are checked: by size and SHA-256, or by size alone, where the page was not loaded by HTTPS or from this machine.
 *
 * @typedef {"sha256" | "size"} FileCheck
 */

/**
 * The folder of a site as a URL. In Node, text without a scheme is the path of a folder.
 *
 * @param {string | URL} place
 */
export async function folderUrl(place) {
  const text = String(place);
  const isUrl = /^[a-z][a-z\d+.-]+:/i.test(text);
  if (!isUrl && typeof location !== "object") {
    const { pathToFileURL } = await import(/* webpackIgnore: true */ /* @vite-ignore */ "node:url");
    return pathToFileURL(text.endsWith("/") ? text : `${text}/`);
  }
  const url = isUrl ? new URL(text) : new URL(text, location.href);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  // They belong to a page, not to the files of its folder.
  url.search = "";
  url.hash = "";
  return url;
}

/**
 * The bytes of a file.
 *
 * @param {URL} url
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function read(url) {
  try {
    if (url.protocol === "file:") {
      const { readFile } = await import(/* webpackIgnore: true */ /* @vite-ignore */ "node:fs/promises");
      return new Uint8Array(await readFile(url));
    }
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HyperloaderError("missing-file", `cannot read \`${url.href}\`: ${reason}`, { cause });
  }
}

/**
 * SHA-256 in hexadecimal.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Checks a file against what `tagger.json` says.
 *
 * @param {import("./metadata.js").SiteFile} file
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {FileCheck} check
 */
async function checkFile(file, bytes, check) {
  const damaged = (/** @type {string} */ what) => {
    const message = `\`${file.name}\` is damaged or of another export: ${what}; copy the whole folder again`;
    return new HyperloaderError("damaged-file", message);
  };
  if (bytes.length !== file.bytes) throw damaged(`it has ${bytes.length} bytes, expected ${file.bytes}`);
  if (check === "size") return;
  if (!globalThis.crypto?.subtle) {
    const message = 'digests cannot be computed on this page; serve it by HTTPS or from this machine, or open the tagger with `check: "size"`';
    throw new HyperloaderError("insecure", message);
  }
  const found = await sha256(bytes);
  if (found !== file.sha256) throw damaged(`its SHA-256 is ${found}, expected ${file.sha256}`);
}

/**
 * Reads and checks the files of a site that a tagger needs.
 *
 * @param {string | URL} place
 * @param {FileCheck} check
 */
export async function readSite(place, check) {
  const folder = await folderUrl(place);
  const metadata = readMetadata(await read(new URL("tagger.json", folder)));
  const { encoder, decoder, weights } = metadata.graphs;
  const file = async (/** @type {string} */ name) => {
    const about = metadata.files.find((known) => known.name === name);
    if (!about) throw new HyperloaderError("damaged-file", `\`tagger.json\` does not list \`${name}\``);
    const bytes = await read(new URL(name, folder));
    await checkFile(about, bytes, check);
    return bytes;
  };
  const names = [encoder, decoder, weights, "tokenizer.json"];
  const [ofEncoder, ofDecoder, ofWeights, tokenizer] = await Promise.all(names.map(file));
  return { metadata, encoder: ofEncoder, decoder: ofDecoder, weights: ofWeights, tokenizer };
}
