import type { Isolation, Usage } from "#contract/sandbox.ts";
import { inBytes, inSeconds } from "./figures.ts";
import { harmless } from "./filter.ts";
import { quoted } from "./program.ts";
import type { Style } from "./style.ts";

export type Phase = "make" | "send" | "run" | "keep" | "destroy";

/** How the program ended; `lost` when the sandbox died under it. */
export interface Outcome {
  status: "running" | "completed" | "timeout" | "oom" | "killed" | "interrupted" | "lost";
  exitCode: number;
  why?: string;
}

export interface Kept {
  id: string;
  name: string;
  path: string;
  sizeBytes: number;
  sha256: string;
  mediaType: string;
  url: string;
  expiresAt: string;
  saved?: string;
  /** Why the copy asked for here could not be written; the artifact is kept all the same. */
  notSaved?: string;
}

export interface NotKept {
  path: string;
  code: string;
  why: string;
}

/** What happened to one job, whole: the same for people and, as JSON, for programs. */
export interface Receipt {
  program: { name: string; language: string; args: string[]; command: string[] };
  sandbox: { id: string; template: string | undefined; isolation: Isolation | undefined };
  startedAt: string;
  outcome: Outcome;
  phasesMs: Partial<Record<Phase, number>>;
  usage: Usage | undefined;
  inputs: string[];
  kept: Kept[];
  notKept: NotKept[];
  destroyed: { ended: boolean; reason: string | undefined; endedAt: string | undefined };
  output: { stdout: string; stderr: string; dropped: { stdout: number; stderr: number } };
}

const WIDTH = 76;
const ARGS_SHOWN = 40;
const PAST: Record<Phase, string> = { make: "made in", send: "sent in", run: "ran for", keep: "kept in", destroy: "destroyed in" };

/** The receipt as people read it. Whatever a sandbox chose, such as names, is made harmless. */
export function renderReceipt(receipt: Receipt, style: Style): string {
  const lines = [
    `${style.faint("──")} ${style.strong("receipt")} ${style.faint("─".repeat(WIDTH - 11))}`,
    ...ranLines(receipt, style),
    ...sandboxLines(receipt, style),
    ...usedLines(receipt, style),
    ...receipt.kept.flatMap((kept) => keptLines(kept, style)),
    ...receipt.notKept.map((one) => row(style, style.bad("✗"), "not kept", `${harmless(one.path)}  ${style.faint(harmless(one.why))}`)),
    destroyedLine(receipt, style),
    style.faint("─".repeat(WIDTH)),
    "",
  ];
  return lines.join("\n");
}

function ranLines({ program, inputs, outcome }: Receipt, style: Style): string[] {
  const good = outcome.status === "completed" && outcome.exitCode === 0;
  const mark = good ? style.good("✓") : style.bad("✗");
  const words = harmless(program.args.map(quoted).join(" "));
  const args = words.length > ARGS_SHOWN ? `${words.slice(0, ARGS_SHOWN - 1)}…` : words;
  const ended = good ? style.good("exit 0") : style.bad(endedAs(outcome));
  const lines = [row(style, mark, "ran", [style.strong(harmless(program.name)), args, ended].filter((part) => part !== "").join("  "))];
  if (inputs.length > 0) lines.push(row(style, " ", "on", inputs.map(harmless).join(", ")));
  return lines;
}

function endedAs({ status, exitCode, why }: Outcome): string {
  const words: Record<Outcome["status"], string> = {
    running: `exit ${exitCode}`,
    completed: `exit ${exitCode}`,
    timeout: `stopped: its time was up (exit ${exitCode})`,
    oom: "killed: out of memory",
    killed: `killed (exit ${exitCode})`,
    interrupted: "interrupted",
    lost: `the sandbox died under it${why ? ` (${harmless(why)})` : ""}`,
  };
  return words[status];
}

function sandboxLines({ sandbox, phasesMs }: Receipt, style: Style): string[] {
  const layers = sandbox.isolation?.layers ?? [];
  const on = layers.filter((layer) => layer.on).length;
  const strength = sandbox.isolation?.strength;
  const sealed =
    strength === undefined ? "" : ` · ${strength === "weak" ? style.bad("weakly isolated") : "sealed"}, ${on} of ${layers.length} layers`;
  const phases = Object.entries(phasesMs).filter(([phase]) => phase !== "run");
  const totalMs = Object.values(phasesMs).reduce((sum, ms) => sum + ms, 0);
  const parts = phases.map(([phase, ms]) => `${PAST[phase as Phase]} ${(ms / 1000).toFixed(2)}`).join(", ");
  const ran = phasesMs.run === undefined ? "" : `ran for ${inSeconds(phasesMs.run)} `;
  return [
    row(style, " ", "in", `sandbox ${sandbox.id}${sandbox.template ? ` from ${sandbox.template}` : ""}${sealed}`),
    row(style, " ", "took", `${style.strong(inSeconds(totalMs))}: ${ran}${style.faint(`(${parts})`)}`),
  ];
}

function usedLines({ usage }: Receipt, style: Style): string[] {
  if (!usage) return [];
  const parts = [
    `${inSeconds(usage.cpuMs)} of cpu`,
    `${inBytes(usage.memoryPeakBytes)} of memory at the peak`,
    `${inBytes(usage.diskBytes)} of disk`,
  ];
  return [row(style, " ", "used", parts.join(" · "))];
}

function keptLines(kept: Kept, style: Style): string[] {
  const until = new Date(kept.expiresAt).toISOString().slice(0, 16).replace("T", " ");
  return [
    row(
      style,
      style.good("✓"),
      "kept",
      `${style.strong(harmless(kept.name))}  ${inBytes(kept.sizeBytes)}  ${harmless(kept.mediaType)}  ${style.faint(kept.id)}`,
    ),
    ...(kept.saved === undefined ? [] : [row(style, " ", "", `here: ${harmless(kept.saved)}`)]),
    ...(kept.notSaved === undefined ? [] : [row(style, style.bad("✗"), "not saved", `here: ${harmless(kept.notSaved)}`)]),
    row(style, " ", "", style.faint(`sha256 ${kept.sha256}`)),
    row(style, " ", "", style.link(kept.url)),
    row(style, " ", "", style.faint(`the link works until ${until} UTC; the artifact stays`)),
  ];
}

function destroyedLine({ destroyed }: Receipt, style: Style): string {
  if (!destroyed.ended) return row(style, style.bad("✗"), "destroyed", "not confirmed; `cleanroom sandbox ls` shows it");
  const early = destroyed.reason !== undefined && destroyed.reason !== "deleted" && destroyed.reason !== "stopped";
  const why = early ? ` ${style.faint(`(it had ended before: ${harmless(destroyed.reason ?? "")})`)}` : "";
  return row(style, style.good("✓"), "destroyed", `the sandbox and everything else in it${why}`);
}

function row(style: Style, mark: string, label: string, value: string): string {
  return ` ${mark} ${style.faint(label.padEnd(10))} ${value}`.trimEnd();
}
