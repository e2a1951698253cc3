import { Readable } from "node:stream";
import { Problem } from "#contract/problem.ts";
import type { Isolation } from "#contract/sandbox.ts";
import type { PreparedNow, Scaling } from "#contract/template.ts";
import type { Engine, EngineRef, FunctionSpec, ListedSession, Passage, Passed, SessionFacts, SessionLife } from "#core/ports.ts";

interface Session {
  ref: EngineRef;
  life: SessionLife;
  live: boolean;
  paused?: true;
  endReason?: NonNullable<SessionFacts["endReason"]>;
}

/** An engine whose sessions are entries of a map. Tests say what the workspace answers, and what happens to sessions. */
export class FakeEngine implements Engine {
  readonly sessions = new Map<string, Session>();
  readonly functions = new Map<string, FunctionSpec>();
  readonly scalings = new Map<string, Scaling>();
  readonly requests: { ref: EngineRef; passage: Passage }[] = [];
  /** Called before each operation; throwing makes it fail. */
  before: (operation: string, ref: EngineRef | undefined) => void | Promise<void> = () => {};
  workspace: (passage: Passage, ref: EngineRef) => Response | Promise<Response> = () => Response.json({ status: "ok" });

  get living(): string[] {
    return [...this.sessions.values()].filter((session) => session.live).map((session) => session.ref.sessionId);
  }

  /** What happens to a session by itself. */
  end(sessionId: string, endReason: NonNullable<SessionFacts["endReason"]>): void {
    const session = this.sessions.get(sessionId);
    if (session?.live) Object.assign(session, { live: false, endReason });
  }

  async define(spec: FunctionSpec): Promise<void> {
    await this.before("define", undefined);
    this.functions.set(spec.functionName, spec);
  }

  async undefine(functionName: string): Promise<void> {
    await this.before("undefine", undefined);
    this.functions.delete(functionName);
  }

  async scale(functionName: string, scaling: Scaling): Promise<void> {
    await this.before("scale", undefined);
    this.scalings.set(functionName, scaling);
  }

  /** As many wait as are wanted at the least. */
  async prepared(functionName: string): Promise<PreparedNow> {
    await this.before("prepared", undefined);
    const scaling = this.scalings.get(functionName) ?? this.functions.get(functionName)?.template.scaling;
    return { ready: scaling?.minPrepared ?? 0, making: 0, wanted: scaling?.minPrepared ?? 0 };
  }

  async start(ref: EngineRef, life: SessionLife): Promise<void> {
    await this.before("start", ref);
    const known = this.sessions.get(ref.sessionId);
    if (known?.live === false) throw new Problem("already_exists");
    if (!known) this.sessions.set(ref.sessionId, { ref, life, live: true });
    await this.before("started", ref);
  }

  async extend(ref: EngineRef, life: SessionLife): Promise<void> {
    await this.before("extend", ref);
    Object.assign(this.#session(ref), { life });
  }

  async request(ref: EngineRef, passage: Passage): Promise<Response> {
    await this.before("request", ref);
    if (this.#session(ref).paused) throw new Problem("sandbox_not_ready", { detail: "The session is paused" });
    this.requests.push({ ref, passage });
    return this.workspace(passage, ref);
  }

  async pass(ref: EngineRef, passage: Passage): Promise<Passed> {
    const { status, headers, body } = await this.request(ref, passage);
    return { status, headers: new Headers(headers), body: body && Readable.fromWeb(body as never) };
  }

  async connect(): Promise<never> {
    throw new Problem("not_supported");
  }

  async pause(ref: EngineRef): Promise<void> {
    await this.before("pause", ref);
    this.#session(ref).paused = true;
    await this.before("paused", ref);
  }

  async resume(ref: EngineRef): Promise<void> {
    await this.before("resume", ref);
    delete this.#session(ref).paused;
    await this.before("resumed", ref);
  }

  async stop(ref: EngineRef): Promise<undefined> {
    await this.before("stop", ref);
    this.end(ref.sessionId, "deleted");
  }

  async facts(ref: EngineRef): Promise<SessionFacts | undefined> {
    await this.before("facts", ref);
    const session = this.sessions.get(ref.sessionId);
    if (!session) return undefined;
    const usage = { cpuMs: 5, memoryBytes: 1, memoryPeakBytes: 2, diskBytes: 3, processes: 1, oomKills: 0 };
    const paused = session.live && session.paused ? ({ paused: true } as const) : {};
    return { live: session.live, ...paused, usage, ...(session.endReason ? { endReason: session.endReason } : {}) };
  }

  async list(functionName: string): Promise<ListedSession[]> {
    await this.before("list", undefined);
    return [...this.sessions.values()]
      .filter((session) => session.live && session.ref.functionName === functionName)
      .map(({ ref, paused }) => ({ ...ref, ...(paused ? { paused } : {}) }));
  }

  async isolation(): Promise<Isolation> {
    return { strength: "weak", layers: [{ name: "none", on: false, why: "a test's stand-in" }] };
  }

  async ping(): Promise<boolean> {
    return true;
  }

  #session(ref: EngineRef): Session {
    const session = this.sessions.get(ref.sessionId);
    if (!session?.live) throw new Problem("sandbox_lost");
    return session;
  }
}
