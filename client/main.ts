/** What `import … from "cleanroom"` gives. */
export { Sandbox, type CreateOptions, type ListOptions } from "./sandbox.ts";
export { Artifacts } from "./artifacts.ts";
export { Memory } from "./memory.ts";
export { Snapshots } from "./snapshots.ts";
export { Problem } from "#contract/problem.ts";
export type { ClientOptions } from "./client.ts";
export type { Execution, ExecutionError, Result, RunCodeOptions } from "./code.ts";
export type { CommandHandle, CommandResult, RunOptions } from "./commands.ts";
export type { Source } from "./files.ts";
export type { Content, Format } from "./read.ts";
export type { Unpacked } from "./unpack.ts";
export type { Artifact, ArtifactLink } from "#contract/artifact.ts";
export type { Context, Language } from "#contract/context.ts";
export type { FileEntry } from "#contract/file.ts";
export type { MemoryEvent, MemoryHit, MemoryRecord, Tombstone } from "#contract/memory.ts";
export type { ProblemCode } from "#contract/problem.ts";
export type { Sandbox as SandboxInfo } from "#contract/sandbox.ts";
export type { Snapshot } from "#contract/snapshot.ts";
