// Reads pages as people do, in Chromium: light and dark, wide and narrow, with script switched off. Checks them with
// an HTML validator and with axe, and takes their pictures.
//
//   node check.mjs JOB.json
//
// JOB.json: {"chromium": program, "profile": directory, "pictures": directory, "port": where the site's server is,
// "host": the site's host, "pages": {path on the host: words that a reader must see}}. What is wrong is printed, a line
// each, and the exit code is 1.
import { readFileSync } from "node:fs";
import { HtmlValidate } from "html-validate";
import axe from "axe-core";
import puppeteer from "puppeteer-core";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const wrong = [];
const validator = new HtmlValidate({ root: true, extends: ["html-validate:standard"] });
const browser = await puppeteer.launch({
  executablePath: job.chromium,
  userDataDir: job.profile,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--ignore-certificate-errors",
    `--host-resolver-rules=MAP ${job.host}:443 127.0.0.1:${job.port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`,
  ],
  timeout: 120_000,
  protocolTimeout: 120_000,
});
try {
  for (const [path, words] of Object.entries(job.pages)) {
    for (const [scheme, width] of [["light", 1100], ["dark", 1100], ["dark", 360]])
      await look(path, words, scheme, width);
  }
} finally {
  await browser.close();
}
for (const line of wrong) console.log(line);
process.exitCode = wrong.length === 0 ? 0 : 1;

async function look(path, words, scheme, width) {
  const told = (what) => wrong.push(`${path} (${scheme}, ${width} wide): ${what}`);
  const page = await browser.newPage();
  try {
    await page.setJavaScriptEnabled(false);
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    page.on("request", (request) => {
      const { pathname } = new URL(request.url());
      if (pathname !== path && pathname !== "/favicon.ico") told(`asks for ${request.url()}`);
    });
    const answer = await page.goto(`https://${job.host}${path}`, { timeout: 60_000 });
    if (answer.status() !== 200) return told(`status ${answer.status()}`);

    const report = await validator.validateString(await answer.text(), path);
    for (const { messages } of report.results)
      for (const { ruleId, message, line } of messages) told(`line ${line}: ${ruleId}: ${message}`);

    // Fingerprints are shown in groups.
    const plain = (text) => text.replaceAll(/\s/g, "");
    const seen = plain(await page.evaluate(() => document.body.innerText));
    for (const word of words) if (!seen.includes(plain(word))) told(`a reader does not see "${word}"`);
    const overflow = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
    if (overflow > 0) told(`${overflow} pixels stick out`);
    const name = path.replaceAll("/", "_");
    await page.screenshot({ path: `${job.pictures}/${name}-${scheme}-${width}.png`, fullPage: true });

    await page.setJavaScriptEnabled(true);
    await page.evaluate(axe.source);
    const { violations, passes } = await page.evaluate(() => window.axe.run());
    if (passes.length === 0) told("axe checked nothing");
    for (const { id, help, nodes } of violations)
      told(`axe: ${id}: ${help}: ${nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
  } finally {
    await page.close();
  }
}
