import { readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { verifyChain } from "#contract/audit-chain.ts";
import { asProblem } from "#contract/problem.ts";
import { openAudit } from "#core/audit.ts";
import type { SearchDoc } from "#core/ports.ts";
import { openTraces } from "#core/traces.ts";
import { createObjects } from "#infra/local/stores/objects.ts";
import { createQueue } from "#infra/local/stores/queue.ts";
import { createSearch } from "#infra/local/stores/search.ts";
import { createTables } from "#infra/local/stores/tables.ts";

// A process of its own that works on a store, as the worker does beside the gateway. It begins when it is told to,
// says each thing that it finished as one line, and may be killed at any moment.

const [job = "", path = "", ...rest] = process.argv.slice(2);

const JOBS: Record<string, () => Promise<void>> = {
  /** Adds one, as often as asked, under a ceiling; says how many it got. */
  async add() {
    await using tables = createTables(path);
    await begin();
    let got = 0;
    for (let left = Number(rest[0]); left > 0; left--) {
      await tables.add("t", "sum", 1, { ceiling: Number(rest[1]) }).then(
        () => got++,
        () => {},
      );
    }
    say(got);
  },

  /** Raises one row as often as asked by reading it and naming its version, again and again until it wins. */
  async raise() {
    await using tables = createTables(path);
    await begin();
    for (let left = Number(rest[0]); left > 0;) {
      const row = await tables.get<number>("t", "shared");
      const written = await tables
        .put("t", "shared", (row?.value ?? 0) + 1, { ifVersion: row?.version ?? "absent" })
        .catch(() => undefined);
      if (written) left--;
    }
    say("done");
  },

  /** Writes rows without end; a row's text is one digit, repeated, so that a torn one shows. */
  async write() {
    await using tables = createTables(path);
    await begin();
    for (let n = 0; ; n++) {
      await tables.put("t", `row-${n % 50}`, { n, text: String(n % 10).repeat(20_000) });
      say(n);
    }
  },

  async send() {
    await using queue = createQueue(path, { maxAttempts: 3, now: Date.now });
    await begin();
    for (let n = 0; ; n++) say(await queue.send("q", String(n % 10).repeat(5_000)));
  },

  /** Receives and acknowledges until nothing is left; says what it held, and waits no longer than the others do. */
  async drain() {
    await using queue = createQueue(path, { maxAttempts: 3, now: Date.now });
    await begin();
    for (;;) {
      const held = await queue.receive("q", { max: 7, visibilityMs: 60_000 });
      if (held.length === 0) return say("done");
      for (const { id, receipt } of held) {
        if (await queue.acknowledge("q", receipt)) say(id);
      }
    }
  },

  /** Takes what there is and keeps it until it is killed. */
  async hold() {
    await using queue = createQueue(path, { maxAttempts: 3, now: Date.now });
    await begin();
    for (const { id } of await queue.receive("q", { max: 10, visibilityMs: 60_000 })) say(id);
    await new Promise(() => setInterval(() => {}, 60_000));
  },

  /** Puts objects without end under one key after another, and one endless one. */
  async put() {
    await using objects = createObjects(path);
    await begin();
    void objects.put("endless", endless(), { maxBytes: Number.MAX_SAFE_INTEGER, mediaType: "text/plain" });
    for (let n = 0; ; n++) {
      await objects.put(`o/${n % 20}`, new Blob([String(n % 10).repeat(300_000)]).stream(), { maxBytes: 1e9, mediaType: "text/plain" });
      say(n);
    }
  },

  /** Puts and gets as many bytes as asked; says the speed of both and the most memory that it ever had. */
  async measure() {
    await using objects = createObjects(path);
    await begin();
    const sizeBytes = Number(rest[0]);
    const startMs = performance.now();
    await objects.put("large", bounded(sizeBytes), { maxBytes: sizeBytes, mediaType: "text/plain" });
    const putMs = performance.now() - startMs;
    let readBytes = 0;
    for await (const chunk of (await objects.get("large"))?.body ?? []) readBytes += chunk.byteLength;
    const getMs = performance.now() - startMs - putMs;
    say(JSON.stringify({ sizeBytes, readBytes, putMs, getMs, peakMiB: peakMiB() }));
  },

  /** Remembers batches of twenty without end. */
  async remember() {
    await using search = createSearch(path);
    await begin();
    for (let n = 0; ; n++) {
      await search.index("s", batchOf(n));
      say(n);
    }
  },

  /** Fills a small disk with audit records, spans and memories, makes room again, and goes on; says what became of each. */
  async fillRecords() {
    const filler = `${path}/filler`;
    const lost: string[] = [];
    await using tables = createTables(`${path}/tables.db`);
    await using search = createSearch(`${path}/memory`);
    const clock = { now: Date.now };
    const log = {
      event: (name: string, facts: object) => void lost.push(`${name} ${JSON.stringify(facts).includes("disk under the store is full")}`),
    };
    const [audit, traces] = [openAudit(tables, clock, log), openTraces(tables, clock, log)];
    const facts = { actor: { kind: "key", id: "k" }, action: "x".repeat(400), phase: "done", decision: "allow", policy: "p" } as const;
    await begin();
    await audit.append("p", facts);
    await search.index("s", batchOf(0));
    writeFileSync(filler, Buffer.alloc(Number(rest[0])));
    const codes = [await refusalOf(() => audit.append("p", facts)), await refusalOf((n) => search.index("s", batchOf(n)))];
    traces.record(
      { projectId: "p", taskId: "t" },
      { spanId: "1", traceId: "2", kind: "execute", name: "x".repeat(60_000), source: "platform", startMs: 1, status: "ok" },
    );
    await traces.flush();
    rmSync(filler);
    await audit.append("p", facts);
    await search.index("s", batchOf(1));
    const rows = await tables.range<{ lines: string[] }>("audit", "p/", { limit: 100_000 });
    const { broken, records } = verifyChain(
      rows.flatMap(({ value }) => value.lines),
      undefined,
    );
    const { docs } = await search.size("s");
    say(JSON.stringify({ codes, lost, broken, records, halves: docs % BATCH }));
  },

  /** Fills a small disk; says how the put ended and what is left of it. */
  async fill() {
    await using objects = createObjects(path);
    await begin();
    const small = await objects.put("small", bounded(1000), { maxBytes: 1e9, mediaType: "text/plain" });
    const code = await objects
      .put("large", bounded(64 * 1024 * 1024), { maxBytes: 1e9, mediaType: "text/plain" })
      .catch((error: { code: string }) => error.code);
    const again = await objects.put("again", bounded(100_000), { maxBytes: 1e9, mediaType: "text/plain" });
    const keys = (await objects.list("", { limit: 10 })).map(({ key }) => key);
    say(JSON.stringify({ code, keys, sizes: [small.sizeBytes, again.sizeBytes] }));
  },
};

/** Does something until it is refused; says by which Problem. */
async function refusalOf(work: (n: number) => Promise<unknown>): Promise<string> {
  for (let n = 1; n < 100_000; n++) {
    try {
      await work(n);
    } catch (error) {
      return asProblem(error).code;
    }
  }
  return "never";
}

const BATCH = 20;

/** Documents that are there together or not at all. */
function batchOf(n: number): SearchDoc[] {
  return Array.from({ length: BATCH }, (_, at) => {
    const words = ["every", `batch${n}`, `word${at}`];
    return { id: `d${n}-${at}`, atMs: n, facets: { batch: `b${n}` }, words, value: { text: "x".repeat(500) } };
  });
}

async function begin(): Promise<void> {
  say("ready");
  await new Promise((resolve) => process.stdin.once("data", resolve));
  process.stdin.unref?.();
  process.stdin.pause();
}

// At once and past all buffers: what was said was done, whatever comes next.
function say(what: string | number): void {
  writeSync(1, `${what}\n`);
}

// The kernel's own mark of this program; the process's resource usage would count what its parent was when it began.
function peakMiB(): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;
}

function bounded(sizeBytes: number): ReadableStream<Uint8Array> {
  const chunk = new Uint8Array(64 * 1024).fill(97);
  let left = sizeBytes;
  return new ReadableStream(
    {
      pull(controller) {
        if (left === 0) return controller.close();
        const part = chunk.subarray(0, Math.min(left, chunk.byteLength));
        left -= part.byteLength;
        controller.enqueue(part);
      },
    },
    { highWaterMark: 0 },
  );
}

function endless(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      await delay(1);
      controller.enqueue(new Uint8Array(1024));
    },
  });
}

await JOBS[job]?.();
