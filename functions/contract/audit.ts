import * as z from "zod";
import { SignedHead } from "./audit-chain.ts";
import { Count, Moment } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** Whose doing it was: a key of the project, a token or ticket made by one, nobody's who could be known, or the platform's own. */
export const AuditActor = z.object({ kind: z.enum(["key", "token", "anonymous", "platform"]), id: z.string() });
export type AuditActor = z.output<typeof AuditActor>;

/** What is written down of one action. Content is there as keyed digests alone, so that erasing content leaves the chain whole. */
export const AuditEntry = z.object({
  at: Moment,
  project: z.string(),
  actor: AuditActor,
  /** What the caller said of whom it acts for; nobody has checked it. */
  onBehalfOf: z.string().optional(),
  action: z.string(),
  resource: z.object({ kind: z.string(), id: z.string() }).optional(),
  /** `begun` stands before anything is done, `ended` after it; `done` is said once, of what needs no two. */
  phase: z.enum(["begun", "ended", "done"]),
  decision: z.enum(["allow", "deny"]),
  /** What decided it, and why. */
  policy: z.string(),
  reason: z.string().optional(),
  /** An HTTP status or a Problem's code. */
  result: z.string().optional(),
  /** HMAC-SHA256 over RFC 8785 JSON, by a key of the project that stays with the platform. */
  input: z.string().optional(),
  output: z.string().optional(),
  traceId: z.string().optional(),
  spanId: z.string().optional(),
  requestId: z.string().optional(),
  remoteAddress: z.string().optional(),
  /** How often, where equal refusals are told together. */
  count: z.int().optional(),
});
export type AuditEntry = z.output<typeof AuditEntry>;

/** An entry in its chain. */
export const AuditRecord = z.object({ seq: z.int(), prev: z.string(), ...AuditEntry.shape, hash: z.string() });
export type AuditRecord = z.output<typeof AuditRecord>;

export const AuditQuery = z.strictObject({
  action: z.string().max(128).optional(),
  actor: z.string().max(128).optional(),
  resource: z.string().max(256).optional(),
  decision: z.enum(["allow", "deny"]).optional(),
  traceId: z.string().max(32).optional(),
  since: Moment.optional(),
  until: Moment.optional(),
  after: z
    .string()
    .regex(/^\d{1,15}$/, "is `next` of an earlier answer")
    .optional(),
  limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault),
});
export type AuditQuery = z.output<typeof AuditQuery>;

export const listAudit = operation({
  id: "listAudit",
  method: "get",
  path: "/api/audit",
  summary: "Find records of the project's audit log, newest first",
  query: AuditQuery,
  status: 200,
  returns: z.object({ items: z.array(AuditRecord), next: z.string().optional() }),
  errors: ["invalid_request"],
});

export const exportAudit = operation({
  id: "exportAudit",
  method: "get",
  path: "/api/audit/export",
  summary: "Export the whole audit log as JSON Lines, the signed head last; `cleanroom audit verify` checks it",
  status: 200,
  streams: { response: "application/jsonl" },
  errors: [],
});

export const getAuditHead = operation({
  id: "getAuditHead",
  method: "get",
  path: "/api/audit/head",
  summary: "The last record of the audit log, signed, to be kept elsewhere: whoever has it sees if records are missing later",
  status: 200,
  returns: SignedHead,
  errors: [],
});

export const listAuditAnchors = operation({
  id: "listAuditAnchors",
  method: "get",
  path: "/api/audit/anchors",
  summary: "The signed heads that the platform has put among its objects as time went by, oldest first",
  query: z.strictObject({ after: z.string().optional(), limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault) }),
  status: 200,
  returns: z.object({ items: z.array(SignedHead), next: z.string().optional() }),
  errors: ["invalid_request"],
});

export const getAuditKey = operation({
  id: "getAuditKey",
  method: "get",
  path: "/api/audit/key",
  summary: "The public key by which heads of audit logs are checked",
  status: 200,
  returns: z.object({ keyId: z.string(), algorithm: z.literal("Ed25519"), publicKey: z.string() }),
  errors: [],
});
