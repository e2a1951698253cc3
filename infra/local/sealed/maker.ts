import type { Profile } from "./profile.ts";

/** One layer of an instance's defence: whether this host gives it, and why not when it does not. */
export interface IsolationLayer {
  name: string;
  on: boolean;
  why?: string;
}

/** `sealed` when every layer of the floor is on; `weak` otherwise. */
export interface Isolation {
  strength: "sealed" | "weak";
  layers: IsolationLayer[];
}

/** What an instance is made from. Paths on the host are absolute; sizes are in MiB. */
export interface InstanceSpec {
  id: string;
  /** The root file system, shared read-only by all instances under a private writable layer. */
  root: string;
  /** Read-only additions to the root: host folder or file → path inside. */
  binds: Record<string, string>;
  /** The root of an image of somebody's own, shared in the same way: the workspace starts its program in it. */
  image?: string | undefined;
  /** The same for this instance alone, over those that all have. */
  additions?: Record<string, string>;
  /** What runs in it: this program, or else a fork of the `zygote`. */
  command?: readonly string[] | undefined;
  /** A program that is loaded once, in the root but on the host's side; instances of it are its forks. */
  zygote?: readonly string[] | undefined;
  env: Readonly<Record<string, string>>;
  /** `plain` unless a browser is to run in it. */
  profile?: Profile;
  cpu: number;
  memoryMiB: number;
  diskMiB: number;
  processes: number;
  /** Until it resolves nobody waits for the instance, and those that somebody has go first; without, somebody does. */
  wanted?: Promise<void> | undefined;
}

/** Why an instance is no more. `destroyed` is our own doing; the others happened to it. */
export type InstanceEnd = { reason: "destroyed" | "exited" | "oom" | "killed"; exitCode: number | null };

/** Measured from outside the instance, never on its own word. */
export interface InstanceUsage {
  cpuMs: number;
  memoryBytes: number;
  memoryPeakBytes: number;
  oomKills: number;
  processes: number;
  diskBytes: number;
}

export interface Instance {
  readonly id: string;
  /** A listening socket only the host can reach by name; the process inside inherited it as `listenFd`. */
  readonly socketPath: string;
  readonly ended: Promise<InstanceEnd>;
  usage(): Promise<InstanceUsage>;
  /** Looks at it from outside, once it answers: rejects when a layer that `isolation` says is on is not on in this very one. */
  inspect(): Promise<void>;
  /** Resolves when nothing in it runs any more; its memory goes back as far as the kernel takes it, in the background. */
  pause(): Promise<void>;
  /** Lets it go on where it stood. */
  resume(): Promise<void>;
  /** Ends everything in it and removes what it left on the host. Destroying twice is one destruction, and a paused one is destroyed as it stands. */
  destroy(): Promise<void>;
}

/**
 * Makes isolated instances. The engine knows no more of isolation than this, so that another runtime can stand in.
 * The command inside gets its listening socket as file descriptor 3.
 */
export interface Maker {
  readonly isolation: Isolation;
  /** Resolves when the instance's first process runs; it need not answer yet. */
  make(spec: InstanceSpec, signal?: AbortSignal): Promise<Instance>;
  /** Removes whatever an earlier engine left: processes, mounts, cgroups, sockets, files. Answers the ids it found. */
  sweep(): Promise<string[]>;
  [Symbol.asyncDispose](): Promise<void>;
}
