import * as z from "zod";
import { type Project, TokenScope } from "#contract/project.ts";
import type { Platform } from "./ports.ts";
import { findProject, type Principal } from "./projects.ts";

const PREFIX = "crt_";
const PURPOSE = "token";

const Claims = z.object({ projectId: z.string(), scope: TokenScope, expiresAtMs: z.int() });

/** Makes a token that acts for its project within one scope until it expires; it is not kept anywhere. */
export function mintToken(
  platform: Platform,
  project: Pick<Project, "id">,
  scope: TokenScope,
  lifetimeMs: number,
): { token: string; expiresAtMs: number } {
  const expiresAtMs = platform.clock.now() + lifetimeMs;
  const body = Buffer.from(JSON.stringify({ projectId: project.id, scope, expiresAtMs })).toString("base64url");
  return { token: `${PREFIX}${body}.${platform.vault.mac(PURPOSE, body)}`, expiresAtMs };
}

/** Whom a token acts for; undefined when it is not ours, altered or expired. */
export async function findByToken(platform: Platform, token: string): Promise<Principal | undefined> {
  if (!token.startsWith(PREFIX)) return undefined;
  const [body = "", mac = "", ...more] = token.slice(PREFIX.length).split(".");
  if (more.length > 0) return undefined;
  if (!platform.vault.checkMac(PURPOSE, body, mac)) return undefined;
  const claims = Claims.parse(JSON.parse(Buffer.from(body, "base64url").toString("utf8")));
  if (claims.expiresAtMs <= platform.clock.now()) return undefined;
  const project = await findProject(platform, claims.projectId);
  return project && { project, accessKeyId: "token", root: false, scope: claims.scope };
}
