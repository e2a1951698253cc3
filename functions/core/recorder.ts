import { setTimeout as delay } from "node:timers/promises";
import { LIMITS } from "#contract/limits.ts";
import { asProblem, Problem, problemFrom } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { Platform } from "./ports.ts";
import { addChunk, beginRecording, checkRoom, keepRecording } from "./recordings.ts";
import { ownRow, rowKey, type SandboxRow } from "./sandbox-rows.ts";
import { requestSandbox } from "./sandboxes.ts";

/** How much is held before it is kept, and for how long: what the end of this process would cost. */
const CHUNK_BYTES = 1024 * 1024;
const CHUNK_MS = 5_000;
/** How long the last frames may take to come. */
const END_MS = 5_000;
const AGAIN_MS = 2_000;
/** Videos that end sooner than this, one after another, are those of a display that cannot be recorded. */
const SHORT_MS = 5_000;
const MOST_VAIN = 3;

/** Records displays for as long as somebody wants it: one video after another for each sandbox, however many there are who do. */
export interface Recorders extends AsyncDisposable {
  /** Answers once the display is being recorded; what it answers ends the use, and ending twice is one end. */
  hold(project: Pick<Project, "id">, sandboxId: string): Promise<() => void>;
}

export function openRecorders(platform: Platform): Recorders {
  const running = new Map<string, Recorder>();
  return {
    async hold(project, sandboxId) {
      const key = rowKey(project.id, sandboxId);
      for (let old = running.get(key); old && !old.isWanted; old = running.get(key)) await old.done;
      const recorder = running.get(key) ?? new Recorder(platform, project, sandboxId);
      const release = recorder.enter();
      if (!running.has(key)) {
        running.set(key, recorder);
        recorder.done = recorder.run().finally(() => running.delete(key));
      }
      try {
        await recorder.begun;
        return release;
      } catch (error) {
        release();
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...running.values()].map((one) => one.close()));
    },
  };
}

/** The recording of one display, from its first wish to its last. */
class Recorder {
  readonly #platform: Platform;
  readonly #project: Pick<Project, "id">;
  readonly #sandboxId: string;
  readonly #unwanted = new AbortController();
  readonly #cut = new AbortController();
  readonly #begun = Promise.withResolvers<void>();
  readonly #keeping = new Set<Promise<void>>();
  #hasBegun = false;
  #holders = 0;
  done: Promise<void> = Promise.resolve();

  constructor(platform: Platform, project: Pick<Project, "id">, sandboxId: string) {
    this.#platform = platform;
    this.#project = project;
    this.#sandboxId = sandboxId;
    // Where nobody waits for it any more, nobody has to be told.
    this.#begun.promise.catch(() => {});
  }

  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  get isWanted(): boolean {
    return !this.#unwanted.signal.aborted;
  }

  enter(): () => void {
    this.#holders += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holders -= 1;
      if (this.#holders === 0) void this.close();
    };
  }

  /** Has the video end with its last frame, and cuts it off if that does not come. */
  async close(): Promise<void> {
    if (this.isWanted) {
      this.#unwanted.abort();
      setTimeout(() => this.#cut.abort(), END_MS).unref();
      void this.#ask("DELETE").catch(() => {});
    }
    await this.done;
  }

  /** Makes one video after another until nobody wants them, or nothing comes of it. Never rejects: `begun` does. */
  async run(): Promise<void> {
    for (let vain = 0; this.isWanted && vain < MOST_VAIN;) {
      const startedMs = performance.now();
      const isElsewhere = await this.#makeOne().catch((error: unknown) => this.#fail(error));
      const isShort = performance.now() - startedMs < SHORT_MS;
      vain = isShort && !isElsewhere ? vain + 1 : 0;
      if (isShort && this.isWanted) await delay(AGAIN_MS, undefined, { signal: this.#unwanted.signal }).catch(() => {});
    }
    this.#unwanted.abort();
    this.#begun.reject(new Problem("display_unavailable", { detail: "Nothing was recorded", sandboxId: this.#sandboxId }));
    await Promise.all(this.#keeping);
  }

  /** True when somebody else records it already: another door, whose turn ends when its clients have left. */
  async #makeOne(): Promise<boolean> {
    const { value: sandbox } = await ownRow(this.#platform, this.#project, this.#sandboxId);
    // A video that ended with its sandbox must not wake it.
    if (this.#hasBegun && sandbox.state !== "ready") throw new Problem("sandbox_not_ready", { sandboxId: this.#sandboxId });
    await checkRoom(this.#platform, this.#project.id, this.#sandboxId);
    const answer = await this.#ask("GET", this.#cut.signal);
    if (!answer.ok || !answer.body) return this.#meet(answer);
    this.#begin();
    // Who left meanwhile had no video yet that could be ended.
    if (!this.isWanted) void this.#ask("DELETE").catch(() => {});
    await this.#take(sandbox, answer.body);
    return false;
  }

  async #meet(answer: Response): Promise<true> {
    const said = problemFrom(await answer.json().catch(() => undefined));
    if (said?.code !== "conflict") throw said ?? new Problem("display_unavailable", { detail: `The workspace answered ${answer.status}` });
    this.#begin();
    return true;
  }

  #begin(): void {
    this.#hasBegun = true;
    this.#begun.resolve();
  }

  async #take(sandbox: SandboxRow, video: ReadableStream<Uint8Array>): Promise<void> {
    let row = await beginRecording(this.#platform, sandbox, this.#platform.clock.now());
    try {
      for await (const bytes of chunked(video)) {
        row = await addChunk(this.#platform, row, bytes);
        // Its program keeps to the bound, unless code inside has put another in its place.
        if (row.value.sizeBytes > LIMITS.recordingBytes + CHUNK_BYTES) break;
      }
    } finally {
      const keeping = keepRecording(this.#platform, row.key).catch((error: unknown) => this.#note(error));
      this.#keeping.add(keeping);
      void keeping.finally(() => this.#keeping.delete(keeping));
    }
  }

  /** What hinders the first video is told to who asked for it; what hinders a later one is tried again. */
  #fail(error: unknown): false {
    this.#note(error);
    if (this.#hasBegun) return false;
    this.#begun.reject(asProblem(error));
    this.#unwanted.abort();
    return false;
  }

  #note(error: unknown): void {
    this.#platform.log.event("recording.failed", { sandboxId: this.#sandboxId, projectId: this.#project.id, error: String(error) });
  }

  #ask(method: "GET" | "DELETE", signal: AbortSignal = AbortSignal.timeout(END_MS)): Promise<Response> {
    const passage = { method, url: "http://workspace/recording", headers: new Headers(), body: null, inner: true } as const;
    return requestSandbox(this.#platform, this.#project, this.#sandboxId, passage, signal);
  }
}

/** What comes, in pieces that are worth keeping. A stream that breaks off has come as far as it has. */
async function* chunked(video: ReadableStream<Uint8Array>): AsyncGenerator<Buffer> {
  let held: Uint8Array[] = [];
  let bytes = 0;
  let sinceMs = performance.now();
  try {
    for await (const piece of video) {
      held.push(piece);
      bytes += piece.byteLength;
      if (bytes < CHUNK_BYTES && performance.now() - sinceMs < CHUNK_MS) continue;
      yield Buffer.concat(held);
      [held, bytes, sinceMs] = [[], 0, performance.now()];
    }
  } catch {
    // Its sandbox has gone, or the last frames were waited for in vain.
  }
  if (bytes > 0) yield Buffer.concat(held);
}
