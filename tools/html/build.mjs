// Makes the page: build.mjs BUILD_DIRECTORY, where node_modules is. Writes page.html, one file with everything but the
// data in it, and html_page.cc, the same for leakprof.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const build = process.argv[2];
const source = join(dirname(fileURLToPath(import.meta.url)), "src");
const modules = join(build, "node_modules");
const esbuild = createRequire(join(build, "package.json"))("esbuild");

const bundled = await esbuild.build({
  entryPoints: [join(source, "main.js")],
  nodePaths: [modules],
  bundle: true,
  write: false,
  outdir: "/",
  format: "iife",
  target: "es2020",
  // Not the names: d3-flame-graph asks for the name of a class.
  minifyWhitespace: true,
  minifySyntax: true,
  charset: "utf8",
  legalComments: "none",
  metafile: true,
});
const script = bundled.outputFiles.find((file) => file.path.endsWith(".js")).text.replaceAll("</script", "<\\/script");
const style = bundled.outputFiles.find((file) => file.path.endsWith(".css")).text;

// The packages whose code is in the script or the style, with their licences.
const names = new Set(
  Object.keys(bundled.metafile.inputs)
    .map((path) => path.split("node_modules/")[1])
    .filter(Boolean)
    .map((path) => path.split("/")[0]),
);
const licences = [...names].sort().map((name) => {
  const about = JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8"));
  const file = readdirSync(join(modules, name)).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file ? readFileSync(join(modules, name, file), "utf8").trim() : "";
  return { name, version: about.version, licence: about.license, text };
});
const listed = readFileSync(join(source, "..", "THIRD_PARTY.md"), "utf8");
for (const { name, version, licence } of licences) {
  if (!listed.includes(`| ${name} | ${version} | ${licence} |`)) {
    throw new Error(`THIRD_PARTY.md lacks the line: | ${name} | ${version} | ${licence} |`);
  }
}
// The long text of the Apache licence once; copyright lines of the others whole.
const apache = licences.find(({ licence }) => licence === "Apache-2.0");
const notices = licences
  .map(({ name, version, licence, text }) =>
    [`${name} ${version} (${licence})`, licence === "Apache-2.0" ? "See the Apache License below." : text].join("\n\n"),
  )
  .concat(apache ? [apache.text] : [])
  .join("\n\n----\n\n");
const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// Only this very script may run, and nothing may be fetched.
const hash = createHash("sha256").update(script).digest("base64");
const policy =
  `default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; ` +
  `form-action 'none'`;
const page = readFileSync(join(source, "page.html"), "utf8")
  .replace("@policy@", () => policy)
  .replace("@style@", () => style)
  .replace("@licences@", () => escape(notices))
  .replace("@script@", () => script);
writeFileSync(join(build, "page.html"), page);

// A string literal for each piece; compilers must take 64 KiB of one.
const bytes = Buffer.from(page, "utf8");
const lines = [];
for (let at = 0; at < bytes.length; at += 120) {
  let line = "";
  for (const byte of bytes.subarray(at, at + 120)) {
    if (byte === 0x0a) line += "\\n";
    else if (byte === 0x22 || byte === 0x5c || byte === 0x3f) line += "\\" + String.fromCharCode(byte);
    else if (byte >= 0x20 && byte < 0x7f) line += String.fromCharCode(byte);
    else line += "\\" + byte.toString(8).padStart(3, "0");
  }
  lines.push(`    "${line}"`);
}
writeFileSync(
  join(build, "html_page.cc"),
  `// Made by tools/html/build.mjs.
#include "output/html.h"

namespace leakshim {
namespace {

constexpr char kPage[] =
${lines.join("\n")};

}  // namespace

absl::string_view HtmlPage() {
  return absl::string_view(kPage, sizeof(kPage) - 1);
}

}  // namespace leakshim
`,
);
