import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { zipSync } from "fflate";
import { type FcClient, FcError } from "#infra/aliyun/fc.ts";
import type { ManifestFunction } from "./manifest.ts";

/** Makes a function and its triggers as the manifest says, whatever of them is there already. Applying twice changes nothing more. */
export async function applyFunction(
  client: FcClient,
  it: ManifestFunction,
  codeZip: Uint8Array | undefined,
): Promise<{ url: string | undefined }> {
  const code = codeZip ? { code: { zipFile: Buffer.from(codeZip).toString("base64") } } : {};
  const body = { ...it.input, ...code };
  await either(
    () => client.createFunction(body),
    () => client.updateFunction(it.name, body),
  );
  if (it.asyncConfig) await client.putAsyncInvokeConfig(it.name, it.asyncConfig);
  if (it.reservedConcurrency !== undefined) await client.putConcurrency(it.name, it.reservedConcurrency);
  const wanted = new Set(it.triggers.map((trigger) => String(trigger["triggerName"])));
  for (const { triggerName = "" } of (await client.listTriggers(it.name)).body.triggers ?? []) {
    if (!wanted.has(triggerName)) await client.deleteTrigger(it.name, triggerName);
  }
  let url: string | undefined;
  for (const trigger of it.triggers) {
    const { body: made } = await either(
      () => client.createTrigger(it.name, trigger),
      () => client.updateTrigger(it.name, String(trigger["triggerName"]), trigger),
    );
    url ??= made.httpTrigger?.urlInternet;
  }
  return { url };
}

/** Removes a function with its triggers and sessions. Removing what is not there is done already. */
export async function removeFunction(client: FcClient, name: string): Promise<void> {
  try {
    for (const { triggerName = "" } of (await client.listTriggers(name)).body.triggers ?? []) await client.deleteTrigger(name, triggerName);
    for (;;) {
      const { sessions = [] } = (await client.listSessions(name, { sessionStatus: "Active", limit: 100 })).body;
      if (sessions.length === 0) break;
      for (const { sessionId = "" } of sessions) await client.deleteSession(name, sessionId);
    }
    await client.deleteFunction(name);
  } catch (error) {
    if (!(error instanceof FcError && error.code === "FunctionNotFound")) throw error;
  }
}

/** The files under a folder as a zip that is the same for the same files. */
export async function zipFolder(folder: string): Promise<Uint8Array> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const files = await Promise.all(paths.toSorted().map(async (path) => [relative(folder, path), await readFile(path)] as const));
  if (files.length === 0) throw new Error(`There is no code in ${folder}; build it first`);
  return zipSync(Object.fromEntries(files), { level: 1, mtime: "1980-01-01T00:00:00" });
}

async function either<T>(create: () => Promise<T>, update: () => Promise<T>): Promise<T> {
  try {
    return await create();
  } catch (error) {
    if (error instanceof FcError && error.code.endsWith("AlreadyExists")) return update();
    throw error;
  }
}
