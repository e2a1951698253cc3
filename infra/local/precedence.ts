import { writeFileSync } from "node:fs";
import { setPriority } from "node:os";

const NICE = -10;

/**
 * Has a process of ours run before what sandboxes do when both want a processor: what they all wait for must not wait
 * for one of them. Kernels that share processors by session first have to be told of the session too. Where it may not
 * be, answers only come later.
 */
export function takePrecedence(pid: number): void {
  for (const take of [() => setPriority(pid, NICE), () => writeFileSync(`/proc/${pid}/autogroup`, String(NICE))]) {
    try {
      take();
    } catch {
      continue;
    }
  }
}
