import * as z from "zod";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** A path inside the sandbox. Relative ones start at /home/user. */
export const SandboxPath = z.string().min(1, "must not be empty").max(LIMITS.pathBytes);

export const FileEntry = z.object({
  name: z.string(),
  type: z.enum(["file", "directory", "symlink", "other"]),
  path: z.string(),
  size: z.int(),
  mode: z.string(),
  permissions: z.string(),
  owner: z.string(),
  group: z.string(),
  modifiedTime: z.string(),
});
export type FileEntry = z.output<typeof FileEntry>;

export const FileContent = FileEntry.extend({ content: z.string(), encoding: z.enum(["utf-8", "base64"]) });
export type FileContent = z.output<typeof FileContent>;

const Mode = z.string().regex(/^0?[0-7]{3}$/, "is an octal mode such as 644");
const at = z.object({ path: SandboxPath });
const Written = z.object({ path: z.string(), size: z.int() });
const Entry = z.object({ entry: FileEntry });
const files = ["invalid_path", "file_not_found", "forbidden", "disk_full"] as const;

export const readFile = operation({
  id: "readFile",
  method: "get",
  path: "/files",
  summary: "Read a file as text, or as base64 when it is not UTF-8",
  query: at,
  status: 200,
  returns: FileContent,
  errors: [...files, "not_a_file", "body_too_large"],
});

export const writeFile = operation({
  id: "writeFile",
  method: "post",
  path: "/files",
  summary: "Write a file; missing parents are made",
  body: z.object({
    path: SandboxPath,
    content: z.string(),
    mode: Mode.default("644"),
    encoding: z.enum(["utf-8", "base64"]).default("utf-8"),
    createDir: z.boolean().default(true),
  }),
  bodyLimitBytes: LIMITS.contentBodyBytes,
  status: 200,
  returns: Written,
  errors: [...files, "not_a_file", "invalid_request"],
});

export const readBytes = operation({
  id: "readBytes",
  method: "get",
  path: "/files/content",
  summary: "Stream a file's bytes; `Range` is honoured",
  query: at,
  status: 200,
  streams: { response: "application/octet-stream" },
  errors: [...files, "not_a_file"],
});

export const writeBytes = operation({
  id: "writeBytes",
  method: "put",
  path: "/files/content",
  summary: "Stream the body into a file of any size; it appears whole or not at all",
  query: z.object({ path: SandboxPath, mode: Mode.default("644") }),
  status: 200,
  streams: { request: "application/octet-stream" },
  returns: Written,
  errors: [...files, "not_a_file"],
});

export const listDirectory = operation({
  id: "listDirectory",
  method: "get",
  path: "/filesystem",
  summary: "List a directory, `depth` levels deep",
  query: z.object({ path: SandboxPath.default("/home/user"), depth: z.coerce.number().int().min(1).max(20).default(1) }),
  status: 200,
  returns: z.object({ path: z.string(), entries: z.array(FileEntry), truncated: z.boolean() }),
  errors: [...files, "not_a_directory"],
});

export const statPath = operation({
  id: "statPath",
  method: "get",
  path: "/filesystem/stat",
  summary: "Describe one path",
  query: at,
  status: 200,
  returns: Entry,
  errors: [...files],
});

export const makeDirectory = operation({
  id: "makeDirectory",
  method: "post",
  path: "/filesystem/mkdir",
  summary: "Make a directory; making it twice is one making",
  body: z.object({
    path: SandboxPath,
    parents: z.boolean().default(true),
    mode: z
      .string()
      .regex(/^0?[0-7]{3,4}$/)
      .default("0755"),
  }),
  status: 200,
  returns: Entry,
  errors: [...files, "not_a_directory"],
});

export const movePath = operation({
  id: "movePath",
  method: "post",
  path: "/filesystem/move",
  summary: "Rename or move a file or directory",
  body: z.object({ source: SandboxPath, destination: SandboxPath }),
  status: 200,
  returns: Entry,
  errors: [...files, "already_exists"],
});

export const removePath = operation({
  id: "removePath",
  method: "post",
  path: "/filesystem/remove",
  summary: "Remove a file or a whole directory; removing twice is one removal",
  body: z.object({ path: SandboxPath }),
  status: 200,
  returns: z.object({ entry: FileEntry.optional() }),
  errors: [...files],
});

export const uploadFile = operation({
  id: "uploadFile",
  method: "post",
  path: "/filesystem/upload",
  summary: "Upload by multipart form: `path`, then `file`",
  status: 200,
  streams: { request: "multipart/form-data" },
  returns: Written,
  errors: [...files, "invalid_request", "body_too_large"],
});

export const downloadFile = operation({
  id: "downloadFile",
  method: "get",
  path: "/filesystem/download",
  summary: "Download a file with its name",
  query: at,
  status: 200,
  streams: { response: "application/octet-stream" },
  errors: [...files, "not_a_file"],
});

export const downloadDirectory = operation({
  id: "downloadDirectory",
  method: "get",
  path: "/filesystem/archive",
  summary: "Stream a directory as a tar",
  query: at,
  status: 200,
  streams: { response: "application/x-tar" },
  errors: [...files, "not_a_directory"],
});

export const uploadDirectory = operation({
  id: "uploadDirectory",
  method: "put",
  path: "/filesystem/archive",
  summary: "Unpack the body, a tar, into a directory; nothing lands outside it",
  query: at,
  status: 200,
  streams: { request: "application/x-tar" },
  returns: z.object({ path: z.string(), entries: z.int(), bytes: z.int() }),
  errors: [...files, "not_a_directory", "invalid_archive", "body_too_large"],
});
