import { readFileSync, readlinkSync } from "node:fs";
import { NAMESPACES, POWERLESS } from "./isolation.ts";
import type { Isolation } from "./maker.ts";

/** A process of an instance, as the host numbers it, and what it must be of. */
export interface Inspected {
  pid: number;
  id: string;
  uidBase: number;
}

/** The one capability that the workspace keeps, never in effect, and that means nothing in a namespace: whoever has none may not slow it down. */
const WAKE_ALARM = "0000000800000000";
/** The user inside whose rights judge every file. */
const USER = 1000;

/** The namespaces that no instance may be in: this process's own. */
export function ownNamespaces(): ReadonlyMap<string, string> {
  return new Map(Object.keys(NAMESPACES).map((kind) => [kind, readlinkSync(`/proc/self/ns/${kind}`)]));
}

/**
 * Looks at a real instance from outside, as the kernel shows its process and not as it says of itself: answers each
 * layer that the host was found to give and that is not on in it. A tenth of a millisecond.
 */
export function missingLayers({ pid, id, uidBase }: Inspected, host: ReadonlyMap<string, string>, { layers }: Isolation): string[] {
  const status = new Map(
    readFileSync(`/proc/${pid}/status`, "utf8")
      .split("\n")
      .map((line) => line.split(":\t", 2) as [string, string]),
  );
  const owner = [uidBase, uidBase + USER, uidBase, uidBase + USER].join("\t");
  const map = readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().split(/\s+/).join("-");
  const held: Record<string, boolean> = {
    "uids of its own": status.get("Uid") === owner && status.get("Gid") === owner && map === `0-${uidBase}-65536`,
    "no capabilities":
      ["CapInh", "CapEff", "CapAmb"].every((set) => status.get(set) === POWERLESS) &&
      [POWERLESS, WAKE_ALARM].includes(status.get("CapPrm") ?? ""),
    "no capabilities to gain": status.get("CapBnd") === POWERLESS,
    "no new privileges": status.get("NoNewPrivs") === "1",
    "system call filter": status.get("Seccomp") === "2",
    "counted by its control group": readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`/${id}`),
  };
  for (const [kind, name] of Object.entries(NAMESPACES)) {
    held[`${name} namespace`] = readlinkSync(`/proc/${pid}/ns/${kind}`) !== host.get(kind);
  }
  return layers.filter(({ name, on }) => on && held[name] === false).map(({ name }) => name);
}
