import { createHash, randomBytes } from "node:crypto";
import { newId } from "#contract/id.ts";
import { Problem } from "#contract/problem.ts";
import type { CreateProject, Key, Project, Quota, TokenScope } from "#contract/project.ts";
import { Key as KeySchema } from "#contract/project.ts";
import type { TicketPurpose } from "#contract/ticket.ts";
import type { Limits } from "./limits.ts";
import type { Platform, Row } from "./ports.ts";
import { unlessConflict } from "./sandbox-rows.ts";
import { sameText } from "./vault.ts";

export const PROJECTS = "projects";
export const KEYS = "keys";
const NAMES = "project-names";
const ROOT_KEY = "root-key";
const ROOT_PROJECT_ID = "root";
const PROJECT_ID_LENGTH = 12;
const PAGE = 1000;

type QuotaChange = { [Name in keyof Quota]?: Quota[Name] | undefined };

/** Who a credential acts for. `root` may also make projects and keys for them; a `scope` confines it to one sandbox or template. */
export interface Principal {
  project: Project;
  accessKeyId: string;
  root: boolean;
  scope?: TokenScope;
  /** The one thing that its ticket is for, where that is what it came with. */
  purpose?: TicketPurpose;
  /** Who came with it: the ticket itself, or the page that renews it. */
  bearer?: string;
}

/** A key as it is kept: signatures need the secret itself, so it is sealed and not only hashed. */
interface KeyRow {
  accessKeyId: string;
  projectId: string;
  root: boolean;
  sealedSecret: string;
  apiKeySha256: string;
  createdAtMs: number;
}

/** Makes the operator's key usable, for the project `root`; the one it replaces stops working. */
export async function importRootKey(platform: Platform, limits: Limits, rootKey: string): Promise<void> {
  const key = KeySchema.parse(JSON.parse(rootKey));
  const now = platform.clock.now();
  const project: Project = {
    id: ROOT_PROJECT_ID,
    name: "root",
    quota: limits.quota,
    createdAt: new Date(now).toISOString(),
  };
  await unlessConflict(platform.tables.put(NAMES, project.name, project.id, { ifVersion: "absent" }));
  const known = await platform.tables.get<Project>(PROJECTS, project.id);
  const kept = {
    createdAt: known?.value.createdAt ?? project.createdAt,
    ...(known?.value.records ? { records: known.value.records } : {}),
  };
  await platform.tables.put<Project>(PROJECTS, project.id, { ...project, ...kept });
  await platform.tables.put(KEYS, key.accessKeyId, keyRow(platform, key, project.id, true));
  const before = await platform.tables.get<string>(ROOT_KEY, ROOT_KEY);
  await platform.tables.put(ROOT_KEY, ROOT_KEY, key.accessKeyId);
  if (before && before.value !== key.accessKeyId) await platform.tables.remove(KEYS, before.value);
}

/** Makes a project and its first key. Only the root key may. */
export async function createProject(
  platform: Platform,
  limits: Limits,
  by: Principal,
  spec: CreateProject,
  accountId: string,
): Promise<{ project: Project; key: Key }> {
  requireRoot(by);
  const now = platform.clock.now();
  const id = `p${newId(now)
    .slice(1 - PROJECT_ID_LENGTH)
    .toLowerCase()}`;
  const project: Project = {
    id,
    name: spec.name,
    quota: quotaWith(limits.quota, spec.quota),
    createdAt: new Date(now).toISOString(),
  };
  // The project is written before its name, so that a name never leads to nothing.
  await platform.tables.put(PROJECTS, id, project, { ifVersion: "absent" });
  const named = await unlessConflict(platform.tables.put(NAMES, spec.name, id, { ifVersion: "absent" }));
  if (!named) {
    await platform.tables.remove(PROJECTS, id);
    throw new Problem("already_exists", { detail: `A project named ${spec.name} already exists` });
  }
  return { project, key: await addKey(platform, id, accountId) };
}

export async function listProjects(
  platform: Platform,
  by: Principal,
  query: { after?: string | undefined; limit: number },
): Promise<{ items: Project[]; next?: string }> {
  requireRoot(by);
  const after = query.after === undefined ? {} : { after: query.after };
  const rows = await platform.tables.range<Project>(PROJECTS, "", { limit: query.limit + 1, ...after });
  const items = rows.slice(0, query.limit).map((row) => row.value);
  const last = items.at(-1);
  return rows.length > items.length && last ? { items, next: last.id } : { items };
}

/** Changes a project's quotas. Only the root key may, and another's project does not exist; what sandboxes hold stays theirs. */
export async function updateProject(platform: Platform, by: Principal, id: string, quota: QuotaChange): Promise<Project> {
  const row = by.root || by.project.id === id ? await platform.tables.get<Project>(PROJECTS, id) : undefined;
  if (!row) throw new Problem("project_not_found", { detail: `Project ${id} not found` });
  requireRoot(by);
  const changed = { ...row.value, quota: quotaWith(row.value.quota, quota) };
  return (await platform.tables.put(PROJECTS, id, changed, { ifVersion: row.version })).value;
}

/** Gives projects of before there were all of these quotas what they lack, once and at the start. */
export async function completeQuotas(platform: Platform, limits: Limits): Promise<void> {
  let after: string | undefined;
  do {
    const rows = await platform.tables.range<Project>(PROJECTS, "", { limit: PAGE, ...(after === undefined ? {} : { after }) });
    for (const { key, version, value } of rows) {
      const quota = quotaWith(limits.quota, value.quota);
      if (Object.keys(quota).every((name) => name in value.quota)) continue;
      await unlessConflict(platform.tables.put<Project>(PROJECTS, key, { ...value, quota }, { ifVersion: version }));
    }
    after = rows.length < PAGE ? undefined : rows.at(-1)?.key;
  } while (after !== undefined);
}

/** Makes another key for a project; another project's does not exist for who is not root. */
export async function createKey(platform: Platform, by: Principal, projectId: string, accountId: string): Promise<Key> {
  const found = by.root || by.project.id === projectId ? await platform.tables.get<Project>(PROJECTS, projectId) : undefined;
  if (!found) throw new Problem("project_not_found", { detail: `Project ${projectId} not found` });
  return addKey(platform, projectId, accountId);
}

/** Revokes a key; a key that is not there is revoked already. The root key is the operator's and is replaced by its file. */
export async function deleteKey(platform: Platform, by: Principal, accessKeyId: string): Promise<void> {
  const row = await platform.tables.get<KeyRow>(KEYS, accessKeyId);
  if (!row || (!by.root && row.value.projectId !== by.project.id)) return;
  if (row.value.root) throw new Problem("forbidden", { detail: "The root key cannot be revoked; replace its file and start again" });
  await platform.tables.remove(KEYS, accessKeyId);
}

/** Whose bearer key this is, compared by its hash in constant time; undefined when it is nobody's. */
export async function findByApiKey(platform: Platform, apiKey: string): Promise<Principal | undefined> {
  const accessKeyId = /^cr_([A-Za-z0-9]{1,64})_/.exec(apiKey)?.[1];
  if (accessKeyId === undefined) return undefined;
  const row = await platform.recent.get<KeyRow>(KEYS, accessKeyId);
  // An unknown key takes the same steps as a wrong one.
  const expected = row?.value.apiKeySha256 ?? sha256("");
  return sameText(sha256(apiKey), expected) && row ? principalOf(platform, row) : undefined;
}

/** The secret of an access key, by which its signatures are checked, and whom it acts for. */
export async function findSecret(platform: Platform, accessKeyId: string): Promise<{ secret: string; principal: Principal } | undefined> {
  if (!/^[A-Za-z0-9]{1,64}$/.test(accessKeyId)) return undefined;
  const row = await platform.recent.get<KeyRow>(KEYS, accessKeyId);
  const principal = row && (await principalOf(platform, row));
  return principal && { secret: platform.vault.open(row.value.sealedSecret, row.value.accessKeyId), principal };
}

/** The project itself, for credentials that name it: tokens and the anonymous mode. */
export async function findProject(platform: Platform, projectId: string): Promise<Project | undefined> {
  return (await platform.recent.get<Project>(PROJECTS, projectId))?.value;
}

/** Whom requests without a credential act for, where the operator allows them: the root project, without root's rights. */
export async function anonymousPrincipal(platform: Platform): Promise<Principal | undefined> {
  const project = await findProject(platform, ROOT_PROJECT_ID);
  return project && { project, accessKeyId: "anonymous", root: false };
}

async function principalOf(platform: Platform, row: Row<KeyRow>): Promise<Principal | undefined> {
  const project = await findProject(platform, row.value.projectId);
  return project && { project, accessKeyId: row.value.accessKeyId, root: row.value.root };
}

async function addKey(platform: Platform, projectId: string, accountId: string): Promise<Key> {
  const accessKeyId = `CR${randomBytes(9).toString("hex").toUpperCase()}`;
  const accessKeySecret = randomBytes(24).toString("base64url");
  const key: Key = { accessKeyId, accessKeySecret, apiKey: `cr_${accessKeyId}_${accessKeySecret}`, accountId };
  await platform.tables.put(KEYS, accessKeyId, keyRow(platform, key, projectId, false), { ifVersion: "absent" });
  return key;
}

function keyRow(platform: Platform, key: Key, projectId: string, root: boolean): KeyRow {
  const { accessKeyId } = key;
  const sealedSecret = platform.vault.seal(key.accessKeySecret, accessKeyId);
  return { accessKeyId, projectId, root, sealedSecret, apiKeySha256: sha256(key.apiKey), createdAtMs: platform.clock.now() };
}

function quotaWith(before: Quota, change: QuotaChange = {}): Quota {
  const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  return { ...before, ...given };
}

function requireRoot(by: Principal): void {
  if (!by.root) throw new Problem("forbidden", { detail: "Only the root key may do that", permission: "root" });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
