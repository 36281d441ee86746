// The page of `leakprof --html` in a browser: page_test.mjs LEAKPROF MODULES [SCREENSHOTS]. MODULES is the folder whose
// package.json playwright-core belongs to; SCREENSHOTS, a folder for pictures to look at.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [leakprof, modules, screenshots] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "package.json"))("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
assert(executablePath, "the test needs Debian's package chromium");

const HOSTILE = "</script><img src=x onerror=alert(1)><!--";
const START = 1_760_000_000;

// A dump of process `pid` with `stacks` of them, the first one of which leaks.
function dump(pid, seq, stacks) {
  const uptime = 600 * (seq + 1);
  const frames = [
    "# java 0x4000000000000010 compiled shop.Cache put 10 Cache.java",
    "# java 0x4000000000000020 interpreted shop.Main run 20 Main.java",
    "# java 0x4000000000000030 compiled java.util.zip.Deflater <init> 201 Deflater.java",
  ];
  const blocks = [];
  let total = 0;
  let all = 0;
  for (let i = 0; i < stacks; ++i) {
    const count = i === 0 ? 10 + 3 * seq : i === 1 ? 200 : 1 + (i % 7);
    const size = i === 0 ? 100_000 : i === 1 ? 65_536 : 4_096;
    total += count * size;
    all += count;
    // Distinct through three levels of callers.
    const way = [0x401000 + 16 * (i % 50), 0x402000 + 16 * (Math.floor(i / 50) % 50), 0x403000 + 16 * Math.floor(i / 2500)];
    const pcs = i === 0 ? [0x401000, "0x4000000000000010", "0x4000000000000020"] : i === 1 ? ["0x4000000000000030", "0x4000000000000020"] : way;
    const lines = ["*", 1 + (i % 3)].map((thread) => `  t${thread}: ${count}: ${count * size} [${2 * count}: ${2 * count * size}]`);
    blocks.push(`@ ${pcs.map((pc) => (typeof pc === "number" ? `0x${pc.toString(16)}` : pc)).join(" ")}`, ...lines, `# age 0 0 ${count} 0 0 0 0 0`);
  }
  for (let i = 0; i < 50; ++i) {
    frames.push(`# pc 0x${(0x401000 + 16 * i).toString(16)} 1 0x${(0x1000 + 16 * i).toString(16)} ${i === 7 ? HOSTILE.replaceAll(" ", "_") : `leaf_${i}`}+0x1`);
    frames.push(`# pc 0x${(0x402000 + 16 * i).toString(16)} 1 0x${(0x2000 + 16 * i).toString(16)} middle_${i}+0x1`);
    frames.push(`# pc 0x${(0x403000 + 16 * i).toString(16)} 1 0x${(0x3000 + 16 * i).toString(16)} outer_${i}+0x1`);
  }
  return `heap_v2/524288
  t*: ${all}: ${total} [${2 * all}: ${2 * total}]
# leakshim 1
# about.executable /opt/shop/bin/shop
# about.pid ${pid}
# about.start_time ${START}
# about.seq ${seq}
# about.dump_time ${START + uptime}
# about.uptime ${uptime}
# about.reason ${seq % 10 === 9 ? "pressure" : "time"}
# about.label ${HOSTILE}
# memory.rss ${100_000_000 + total}
# memory.rss_file 20000000
# memory.map_heap ${total}
# jvm.heap_used 30000000
# jvm.heap_capacity 60000000
# thread 1 ${pid} main
# thread 2 ${pid + 1} ${HOSTILE}
${blocks.join("\n")}
# module 1 1f00000000000000000000000000000000000001 0x400000 0x480000 0x400000 /opt/shop/bin/shop
${frames.join("\n")}
`;
}

const folder = mkdtempSync(join(tmpdir(), "leakshim-tests-html-"));
const write = (name, pid, seq, stacks) => writeFileSync(join(folder, name, `leakshim.${pid}.${seq}.t${seq}.heap`), dump(pid, seq, stacks));
mkdirSync(join(folder, "series"));
for (let seq = 0; seq < 200; ++seq) write("series", 4711, seq, 300);
write("series", 4712, 0, 5000);

const file = join(folder, "report.html");
const made = spawnSync(leakprof, [`--html=${file}`, join(folder, "series")], { encoding: "utf8", timeout: 60_000 });
assert.equal(made.status, 0, made.stderr.slice(0, 1000));
const size = readFileSync(file).length;
assert(size < 5_000_000, `${size} bytes for 200 dumps`);

const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const complaints = [];

async function open(viewport, colorScheme) {
  const page = await browser.newPage({ viewport, colorScheme });
  page.setDefaultTimeout(30_000);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.on("dialog", (dialog) => complaints.push(`a dialog: ${dialog.message()}`));
  page.on("request", (request) => /^(file|data):/.test(request.url()) || complaints.push(`a request: ${request.url()}`));
  await page.goto(`file://${file}`);
  await page.waitForSelector("html[data-ready=yes]");
  return page;
}

const picture = (page, name) => screenshots && page.screenshot({ path: join(screenshots, name), fullPage: true });
const frames = (page) => page.locator("#flame .frame").count();
const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

const tests = {
  async what_leaks_stands_on_top(page) {
    assert.match(await page.textContent("#verdict"), /growing in malloc/);
    assert.match(await page.textContent("#name"), /shop \(pid 4711\)/);
    const first = page.locator("tr.suspect").first();
    assert.match(await first.textContent(), /growing/);
    assert.match(await first.textContent(), /shop\.Cache\.put/);
    for (const curve of ["#memory-curve", "#live-curve"]) assert.equal(await page.locator(`${curve} canvas`).count(), 1);
  },
  async a_suspect_opens_and_closes(page) {
    const first = page.locator("tr.suspect").first();
    await first.click();
    assert.equal(await first.getAttribute("aria-expanded"), "true");
    const details = await page.locator("tr.details").textContent();
    for (const part of ["Live bytes over time", "Stack, the allocation first", "Live samples by age", "Live bytes by size", "Threads that allocated it"]) {
      assert(details.includes(part), `${part} is not in: ${details}`);
    }
    assert(details.includes("shop.Main.run"));
    await picture(page, "suspect.png");
    await first.click();
    assert.equal(await page.locator("tr.details").count(), 0);
  },
  async columns_sort(page) {
    const live = () => page.evaluate(() => [...document.querySelectorAll("tr.suspect")].map((row) => row.suspect.live));
    const ranks = await page.evaluate(() => [...document.querySelectorAll("tr.suspect")].map((row) => row.suspect.rank));
    assert.deepEqual(ranks, [...ranks].sort((a, b) => a - b));
    await page.click("#suspects th[data-key=live] button");
    const down = await live();
    assert.deepEqual(down, [...down].sort((a, b) => b - a));
    await page.click("#suspects th[data-key=live] button");
    const up = await live();
    assert.deepEqual(up, [...up].sort((a, b) => a - b));
    assert(down.length > 1 && down[0] !== down.at(-1));
    await page.click("#suspects th[data-key=rank] button");
  },
  async a_search_marks_and_counts(page) {
    await page.fill("#search", "Cache");
    await page.waitForFunction(() => document.getElementById("flame-status").textContent.includes("Cache"));
    assert.match(await page.textContent("#flame-status"), /1 frame/);
    await page.fill("#search", "no such function");
    await page.waitForFunction(() => document.getElementById("flame-status").textContent.includes("no such"));
    await page.fill("#search", "");
  },
  async frames_zoom_and_the_whole_comes_back(page) {
    const width = () => page.evaluate(() => {
      const frame = [...document.querySelectorAll("#flame .frame")].find((one) => one.textContent.includes("shop.Main.run"));
      return frame.getBoundingClientRect().width;
    });
    const before = await width();
    await page.locator("#flame .frame", { hasText: "shop.Main.run" }).first().click();
    await page.waitForFunction((was) => {
      const frame = [...document.querySelectorAll("#flame .frame")].find((one) => one.textContent.includes("shop.Main.run"));
      return frame && frame.getBoundingClientRect().width > was * 1.05;
    }, before);
    await page.click("#reset");
    await page.waitForFunction((was) => {
      const frame = [...document.querySelectorAll("#flame .frame")].find((one) => one.textContent.includes("shop.Main.run"));
      return frame && Math.abs(frame.getBoundingClientRect().width - was) < 2;
    }, before);
  },
  async metrics_change_the_widths(page) {
    const total = () => page.evaluate(() => document.querySelector("#flame .frame title, #flame .frame")?.__data__?.value);
    const bytes = await total();
    for (const metric of ["objects", "allocBytes", "allocObjects", "growth"]) {
      await page.locator(`#metrics input[value=${metric}]`).check({ force: true });
      await page.waitForTimeout(50);
      assert.notEqual(await total(), bytes, metric);
      assert(await frames(page) > 1, metric);
    }
    await picture(page, "growth.png");
    await page.locator("#metrics input[value=bytes]").check({ force: true });
    await page.selectOption("#base", "none");
    await page.locator("#upright").check({ force: true });
    await page.locator("#icicle").check({ force: true });
  },
  async dumps_are_chosen(page) {
    const last = await page.textContent("#dump-name");
    await page.locator("#dump").evaluate((slider) => {
      slider.value = 0;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    });
    assert.notEqual(await page.textContent("#dump-name"), last);
  },
  async a_theme_is_a_key_away(page) {
    const before = await background(page);
    await page.keyboard.press("t");
    assert.notEqual(await background(page), before);
    await picture(page, "other-theme.png");
    await page.click("#theme");
    assert.equal(await background(page), before);
  },
  async all_goes_by_keyboard(page) {
    await page.evaluate(() => document.activeElement?.blur());
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("tr.suspect").first().getAttribute("aria-expanded"), "true");
    await page.keyboard.press("Enter");
    await page.keyboard.press("?");
    assert.equal(await page.locator("#help").evaluate((dialog) => dialog.open), true);
    await page.keyboard.press("Escape");
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "search");
    await page.keyboard.type("shop");
    await page.keyboard.press("Escape");
    assert.equal(await page.inputValue("#search"), "");
    await page.keyboard.press("f");
    for (const key of ["ArrowDown", "ArrowDown", "Enter", "Escape", "m", "m", "i", "i"]) await page.keyboard.press(key);
  },
  async five_thousand_stacks_do_not_lag(page) {
    await page.evaluate(() => document.activeElement?.blur());
    await page.keyboard.press("p");
    assert.match(await page.textContent("#name"), /pid 4712/);
    const took = await page.evaluate(async () => {
      const began = performance.now();
      const search = document.getElementById("search");
      search.value = "leaf_1";
      search.dispatchEvent(new Event("input", { bubbles: true }));
      while (!document.getElementById("flame-status").textContent.includes("leaf_1")) await new Promise((done) => requestAnimationFrame(done));
      return performance.now() - began;
    });
    console.log(`a search over 5 000 stacks: ${took.toFixed(0)} ms`);
    assert(took < 3_000, `${took} ms`);
    assert.equal(await page.locator("#time-section").isHidden(), true);
  },
  async a_page_that_is_printed_from_the_dark_has_whole_frames(page) {
    const dark = () => page.evaluate(() => document.documentElement.dataset.theme === "dark");
    const was = await dark();
    if (!was) await page.click("#theme");
    const unlike = await page.evaluate(() => {
      dispatchEvent(new Event("beforeprint"));
      const frames = [...document.querySelectorAll("#flame g.frame")];
      const whole = frames.filter((frame) =>
        frame.querySelector("rect").getAttribute("width") === frame.getAttribute("width") && frame.querySelector(".d3-flame-graph-label").textContent);
      const found = [frames.length, whole.length];
      dispatchEvent(new Event("afterprint"));
      return found;
    });
    if (!was) await page.click("#theme");
    assert(unlike[0] > 10);
    assert.equal(unlike[1], unlike[0]);
  },
  async names_are_text_and_nothing_else(page) {
    assert.equal(await page.locator("img").count(), 0);
    assert((await page.textContent("#name")).includes(HOSTILE));
  },
};

let failed = 0;
const page = await open({ width: 1280, height: 900 }, "light");
await picture(page, "desktop.png");
for (const [name, test] of Object.entries(tests)) {
  try {
    await test(page);
    console.log(`ok   ${name}`);
  } catch (error) {
    ++failed;
    console.log(`FAIL ${name}: ${error.stack}`);
  }
}
// The demo as it runs, where there is one: LEAKSHIM_LIBRARY and LEAKSHIM_DEMO_JAR.
const { LEAKSHIM_LIBRARY: library, LEAKSHIM_DEMO_JAR: jar } = process.env;
if (library && jar) {
  const demo = join(folder, "demo");
  mkdirSync(demo);
  const ran = spawnSync("java", ["-jar", jar, "11"], {
    cwd: demo,
    env: { ...process.env, LD_PRELOAD: library, LEAKSHIM_CONF: "prof_time_interval:1s,prof_accum:true,lg_prof_sample:16" },
    timeout: 90_000,
  });
  const drawn = spawnSync(leakprof, [`--html=${file}`, demo], { encoding: "utf8", timeout: 60_000 });
  try {
    assert.equal(ran.status, 0);
    assert.equal(drawn.status, 0, drawn.stderr.slice(0, 1000));
    const page = await open({ width: 1280, height: 900 }, "dark");
    await picture(page, "demo.png");
    assert.match(await page.textContent("#verdict"), /growing/);
    const rows = await page.locator("#suspects tbody").textContent();
    for (const leak of ["demo.NativeIndex", "demo.ForgottenStreams", "demo.SessionBuffers"]) {
      assert(rows.includes(leak) || (await page.locator("#flame").textContent()).includes(leak), `${leak} is not on the page`);
    }
    await page.fill("#search", "Deflater");
    await page.waitForFunction(() => /frames? with/.test(document.getElementById("flame-status").textContent));
    console.log("ok   the_demo_is_on_its_page");
  } catch (error) {
    ++failed;
    console.log(`FAIL the_demo_is_on_its_page: ${error.stack}`);
  }
}
const phone = await open({ width: 390, height: 800 }, "dark");
await picture(phone, "phone.png");
const overflow = await phone.evaluate(() => document.documentElement.scrollWidth);
await phone.emulateMedia({ media: "print" });
await picture(phone, "print.png");
await browser.close();
if (overflow > 390) complaints.push(`a phone's page is ${overflow} pixels wide`);
for (const complaint of complaints) console.log(`FAIL ${complaint}`);
console.log(`${size} bytes for 200 dumps and 5 000 stacks`);
if (!failed && !complaints.length) rmSync(folder, { recursive: true });
process.exit(failed || complaints.length ? 1 : 0);
