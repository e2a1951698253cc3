import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { TestWorkspace } from "./workspace.ts";

export interface Item {
  type: string;
  text?: string;
  name?: string;
  value?: string;
  traceback?: string;
  data?: Record<string, string>;
  status?: string;
  stateKept?: boolean;
  executionCount?: number;
  dropped?: { stdout: number; stderr: number };
}

/** Runs code and takes the answer apart. */
export async function execute(box: TestWorkspace, code: string, more: object = {}) {
  const { status, json } = await box.send("POST", "/contexts/execute", { code, ...more });
  assert.equal(status, 200, JSON.stringify(json));
  const items = json.results as Item[];
  const end = items.at(-1) ?? { type: "none" };
  assert.equal(end.type, "endOfExecution");
  return { json, items, end, result: items.find((item) => item.type === "result"), error: items.find((item) => item.type === "error") };
}

/** The items of a streamed execution, as they come. */
export async function* eventsOf(response: AsyncIterable<Uint8Array>): AsyncGenerator<Item> {
  let text = "";
  for await (const chunk of response) {
    text += Buffer.from(chunk).toString();
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

export const rssMiB = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;

/** The workspace's server: the first child of the first child, and so on, below the namespace. */
export function workspacePid(box: TestWorkspace): number {
  let { pid } = box;
  for (;;) {
    const child = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0];
    if (!child) return pid;
    pid = Number(child);
  }
}
