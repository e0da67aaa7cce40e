// Answers: which bytes does python/lmsys_rs/static/map.html have? It bundles, inlines and hashes; it never fetches.
// It does not put data in: map.py does that at the placeholder, in Python, for users without Node.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = at("../python/lmsys_rs/static/map.html");
const options = { bundle: true, minify: true, write: false, charset: "ascii", legalComments: "inline", target: "es2022" };

async function bundled(entry, extra) {
  const result = await build({ ...options, ...extra, entryPoints: [at(entry)], metafile: true });
  return notices(Object.keys(result.metafile.inputs)) + result.outputFiles[0].text.trim();
}

// The licences ask for their text in every copy; most packages keep it in a file, not in a comment that esbuild keeps.
function notices(inputs) {
  const folders = new Set(inputs.map((path) => /node_modules\/(@[^/]+\/)?[^/]+/.exec(path)?.[0]).filter(Boolean));
  const notice = (folder) => {
    const { name, version } = JSON.parse(readFileSync(at(`${folder}/package.json`), "utf8"));
    const file = readdirSync(at(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    return `/*! ${name} ${version}\n${readFileSync(at(`${folder}/${file}`), "utf8").trim()}\n*/\n`;
  };
  return [...folders].sort().map(notice).join("");
}

// The policy names the one script and the one style by hash: nothing else can run, whatever a text contains.
const hash = (text) => `'sha256-${createHash("sha256").update(text, "utf8").digest("base64")}'`;

const script = (await bundled("src/main.ts", { format: "iife" })).replaceAll("</script", "<\\/script");
const style = await bundled("src/style.css", {});
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  `style-src ${hash(style)}`,
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const fill = { POLICY: policy, STYLE: style, SCRIPT: script };
const page = readFileSync(at("src/index.html"), "utf8").replace(/%(POLICY|STYLE|SCRIPT)%/g, (_, name) => fill[name]);
if (page.split("<!--LMSYS_MAP_DATA-->").length !== 2) throw new Error("the page must hold the data placeholder once");
// eslint-disable-next-line no-control-regex
if (/[^\x00-\x7f]/.test(page)) throw new Error("the page must be ASCII: map.py joins it with ASCII data");
const code = page.replace(/\/\*(!| ?@license)[^]*?\*\//g, "").replaceAll("http://www.w3.org/", "");
if (/\bhttps?:\/\//.test(code)) throw new Error("the page must not name a host");
mkdirSync(dirname(target), { recursive: true });
writeFileSync(target, page);
console.log(`map.html ${page.length} bytes (script ${script.length}, style ${style.length})`);
