import { Readable } from "node:stream";
import { BROWSER_PROFILE_MEDIA_TYPE } from "#contract/inner.ts";
import { asProblem, Problem, problemFrom } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { CreateSandbox } from "#contract/sandbox.ts";
import { BROWSER_TYPES, type TemplateType } from "#contract/template.ts";
import type { AuditFacts } from "./audit.ts";
import { type KeptProfile, objectKeyOf, ownProfile } from "./browser-profile-rows.ts";
import { inward } from "./passage.ts";
import type { Platform } from "./ports.ts";
import type { SandboxRow } from "./sandbox-rows.ts";

export const PROFILE_ADDRESS = "http://workspace/profile";

/** The profile that a sandbox is to be given, if any, before anything of the sandbox is made. */
export async function profileFor(
  platform: Platform,
  project: Pick<Project, "id">,
  spec: Pick<CreateSandbox, "browserProfile">,
  template: { name: string; type: TemplateType },
): Promise<KeptProfile | undefined> {
  if (spec.browserProfile === undefined) return undefined;
  const profile = await ownProfile(platform, project, spec.browserProfile);
  refuseWithoutBrowser(template.type, `The template ${template.name}`);
  return profile;
}

/** Gives a profile to the browser of a sandbox that nobody has yet. Whose logins went where is in the audit log before they do. */
export async function giveProfile(platform: Platform, row: SandboxRow, profile: KeptProfile, signal?: AbortSignal): Promise<void> {
  const facts = factsOf(platform, row, profile);
  await platform.audit.append(row.projectId, { ...facts, phase: "begun" });
  try {
    const version = await send(platform, row, profile, signal);
    platform.log.event("browser_profile.given", { browserProfile: profile.name, version, projectId: row.projectId, sandboxId: row.id });
    await platform.audit.append(row.projectId, { ...facts, phase: "ended", result: "ok" });
  } catch (error) {
    await platform.audit.append(row.projectId, { ...facts, phase: "ended", result: asProblem(error).code });
    throw error;
  }
}

export function refuseWithoutBrowser(type: TemplateType, which: string): void {
  if (BROWSER_TYPES.has(type)) return;
  const detail = `${which} has no browser, and so no browser profile`;
  throw new Problem("not_supported", { detail, next: "Use the template browser, all-in-one or desktop." });
}

/** The workspace's own word where it is one that the caller can do something about. */
export async function profileRefusal(response: Response, sandboxId: string, what: string): Promise<Problem> {
  const said = problemFrom(await response.json().catch(() => undefined));
  if (said?.code === "browser_unavailable" || said?.code === "body_too_large" || said?.code === "disk_full") return said;
  return new Problem("sandbox_lost", { detail: `The workspace ${what}: ${said?.message ?? `HTTP ${response.status}`}`, sandboxId });
}

async function send(platform: Platform, row: SandboxRow, profile: KeptProfile, signal?: AbortSignal): Promise<number> {
  const { stream, version } = await open(platform, row.projectId, profile);
  const body = Readable.from(stream, { objectMode: false });
  const headers = new Headers({ "content-type": BROWSER_PROFILE_MEDIA_TYPE });
  const passage = { method: "PUT", url: PROFILE_ADDRESS, headers, body, inner: true } as const;
  try {
    const response = await platform.engine.request(row.ref, inward(platform, row.ref.sessionId, passage), signal);
    if (!response.ok) throw await profileRefusal(response, row.id, "did not take the browser's profile");
    await response.body?.cancel();
    return version;
  } finally {
    body.destroy();
  }
}

/** The newest version's bytes: one that was replaced since it was looked up is gone, and the name is not. */
async function open(
  platform: Platform,
  projectId: string,
  profile: KeptProfile,
): Promise<{ stream: ReadableStream<Uint8Array>; version: number }> {
  const object = await platform.objects.get(objectKeyOf(projectId, profile.id));
  if (object) return { stream: object.body, version: profile.version };
  const latest = await ownProfile(platform, { id: projectId }, profile.name);
  if (latest.id === profile.id) throw new Problem("internal", { detail: "The bytes of the browser profile are missing" });
  return open(platform, projectId, latest);
}

function factsOf(platform: Platform, row: SandboxRow, profile: KeptProfile): Omit<AuditFacts, "phase"> {
  const caller = platform.callers.current();
  const id = caller?.accessKeyId;
  return {
    actor: id === undefined ? { kind: "platform", id: "core" } : { kind: id === "anonymous" ? "anonymous" : "key", id },
    action: "giveBrowserProfile",
    resource: { kind: "browserProfile", id: profile.name },
    decision: "allow",
    policy: "project",
    reason: `for the sandbox ${row.id}`,
    ...(row.traceId === undefined ? {} : { traceId: row.traceId }),
    ...(caller === undefined ? {} : { requestId: caller.requestId }),
  };
}
