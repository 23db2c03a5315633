// node encode.mjs LIBRARY DIR TEXTS IDS: what JavaScript makes of texts, for a comparison with Python.
// LIBRARY: @huggingface/tokenizers as one module; DIR: with tokenizer.json; TEXTS, IDS: a JSON value a line.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [library, folder, texts, target] = process.argv.slice(2);
const { Tokenizer } = await import(pathToFileURL(library));
const read = (name) => JSON.parse(readFileSync(`${folder}/${name}`, "utf8"));
const begun = Date.now();
const tokenizer = new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
const loaded = Date.now();
const lines = readFileSync(texts, "utf8").split("\n").filter(Boolean).map(JSON.parse);
const ids = lines.map((text) => tokenizer.encode(text, { add_special_tokens: false }).ids);
const seconds = (Date.now() - loaded) / 1000;
writeFileSync(target, ids.map((row) => JSON.stringify(row) + "\n").join(""));
console.log(JSON.stringify({ loaded_ms: loaded - begun, seconds }));
