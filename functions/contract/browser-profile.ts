import * as z from "zod";
import { Moment, Name, SandboxId } from "./id.ts";
import { operation } from "./operation.ts";

/**
 * What a browser remembers of its user, kept outside of any sandbox: cookies, those of the session too, localStorage and
 * IndexedDB. Each saving under its name is a `version` of its own, and only the newest is kept; equal ones have one `digest`.
 */
export const BrowserProfile = z.object({
  name: Name,
  version: z.int(),
  sizeBytes: z.int(),
  digest: z.string(),
  /** Where its newest version comes from. */
  sandboxId: SandboxId,
  createdAt: Moment,
  updatedAt: Moment,
});
export type BrowserProfile = z.output<typeof BrowserProfile>;

const params = z.object({ browserProfile: z.string() });

export const saveBrowserProfile = operation({
  id: "saveBrowserProfile",
  method: "put",
  path: "/api/sandboxes/:sandboxId/browser-profiles/:browserProfile",
  summary: "Save what the sandbox's browser remembers under a name, in place of what that had; the browser closes for it",
  params: z.object({ sandboxId: z.string(), browserProfile: Name }),
  body: z.strictObject({}),
  status: 200,
  returns: BrowserProfile,
  errors: [
    "invalid_request",
    "sandbox_not_found",
    "sandbox_ended",
    "sandbox_not_ready",
    "not_supported",
    "control_held",
    "browser_unavailable",
    "body_too_large",
    "invalid_archive",
    "timeout",
    "quota_exceeded",
  ],
});

export const listBrowserProfiles = operation({
  id: "listBrowserProfiles",
  method: "get",
  path: "/api/browser-profiles",
  summary: "List the project's browser profiles by name",
  query: z.strictObject({}),
  status: 200,
  returns: z.object({ items: z.array(BrowserProfile) }),
  errors: ["invalid_request"],
});

export const getBrowserProfile = operation({
  id: "getBrowserProfile",
  method: "get",
  path: "/api/browser-profiles/:browserProfile",
  summary: "Read a browser profile's description",
  params,
  status: 200,
  returns: BrowserProfile,
  errors: ["browser_profile_not_found"],
});

export const deleteBrowserProfile = operation({
  id: "deleteBrowserProfile",
  method: "delete",
  path: "/api/browser-profiles/:browserProfile",
  summary: "Delete a browser profile and its bytes; sandboxes that were given it stay as they are",
  params,
  status: 204,
  errors: ["browser_profile_not_found"],
});
