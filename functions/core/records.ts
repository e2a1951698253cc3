import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { Records } from "#contract/records.ts";
import type { Platform } from "./ports.ts";
import { PROJECTS } from "./projects.ts";

/** What holds where a project has said nothing. */
export const RECORDS_DEFAULT: Records = Records.parse({});

export function recordsOf({ records }: Pick<Project, "records">): Records {
  // Rows of before a record was kept by a rule of its own say nothing of it.
  return { ...RECORDS_DEFAULT, ...records };
}

/** It stands in the project's own row, which every request has read already. */
export async function setRecords(platform: Platform, { id }: Pick<Project, "id">, records: Records): Promise<Records> {
  const row = await platform.tables.get<Project>(PROJECTS, id);
  if (!row) throw new Problem("project_not_found", { detail: `Project ${id} not found` });
  await platform.tables.put<Project>(PROJECTS, row.key, { ...row.value, records }, { ifVersion: row.version });
  return records;
}
