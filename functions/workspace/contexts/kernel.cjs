"use strict";
// The JavaScript interpreter of a context: runs cells as a browser's console does (top-level await, declarations
// that persist and may be repeated), and answers on descriptor 3. Messages are described in frames.ts.
const { Session } = require("node:inspector");
const { createRequire } = require("node:module");
const { Socket } = require("node:net");
const { join } = require("node:path");
const { inspect } = require("node:util");
const { pathToFileURL } = require("node:url");
const { Script } = require("node:vm");

const RESULT_LIMIT = 4 * 1024 * 1024;
const ERROR_LIMIT = 64 * 1024;

const channel = new Socket({ fd: 3, readable: true, writable: true });
const session = new Session();
session.connect();

class Exit extends Error {}

function head(size) {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(size);
  return buffer;
}

function send(...parts) {
  const buffers = parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part));
  const payload = Buffer.concat(buffers.flatMap((buffer) => [head(buffer.length), buffer]));
  channel.write(Buffer.concat([head(payload.length), payload]));
}

const cut = (text, limit) =>
  text.length <= limit ? text : `${text.slice(0, limit)}\n[... ${text.length - limit} characters dropped ...]\n`;

function bundle(value) {
  const data = { "text/plain": cut(inspect(value, { depth: 4 }), RESULT_LIMIT) };
  if (value === null || typeof value !== "object") return data;
  for (const [method, media] of [
    ["_repr_html_", "text/html"],
    ["_repr_markdown_", "text/markdown"],
    ["_repr_svg_", "image/svg+xml"],
  ]) {
    if (typeof value[method] === "function") data[media] = String(value[method]());
  }
  return data;
}

const sendResult = (kind, data) => send("result", kind, ...Object.entries(data).flat());

globalThis.display = (...values) => {
  for (const value of values) {
    const media =
      value && typeof value === "object" && Object.keys(value).length > 0 && Object.keys(value).every((key) => key.includes("/"));
    sendResult("extra", media ? value : bundle(value));
  }
};

/** The trace without this program's own frames. */
function traceOf(error) {
  const lines = String(error.stack ?? error).split("\n");
  const own = lines.findIndex(
    (line) => /^\s+at /.test(line) && (line.includes("kernel.cjs") || line.includes("node:inspector") || line.includes("node:vm")),
  );
  return (own < 0 ? lines : lines.slice(0, own)).join("\n");
}

function sendError(error) {
  const known = error !== null && typeof error === "object" && typeof error.message === "string";
  const name = known ? String(error.name ?? "Error") : "Error";
  const value = known ? error.message : inspect(error);
  send("error", name, cut(value, ERROR_LIMIT), cut(known ? traceOf(error) : `Uncaught ${value}`, ERROR_LIMIT));
}

const post = (method, params) =>
  new Promise((resolve, reject) =>
    session.post(method, params, (failure, answer) => (failure ? reject(new Error(failure.message)) : resolve(answer))),
  );

// The inspector knows objects by number; this brings one back into this program, unboxed.
const slot = Symbol.for("cleanroom.slot");
async function valueOf(remote) {
  if (remote.objectId === undefined) return "unserializableValue" in remote ? special(remote.unserializableValue) : remote.value;
  const functionDeclaration = "function () { 'use strict'; globalThis[Symbol.for('cleanroom.slot')] = this; }";
  await post("Runtime.callFunctionOn", { functionDeclaration, objectId: remote.objectId });
  const value = globalThis[slot];
  delete globalThis[slot];
  await post("Runtime.releaseObject", { objectId: remote.objectId });
  return value;
}

const special = (text) => (text.endsWith("n") ? BigInt(text.slice(0, -1)) : Number(text));

/** A console knows no modules: static imports become awaited ones, and those go through `importFrom`. */
function withImports(code) {
  let text = "";
  for (let at = 0; at < code.length;) {
    const lineStart = at === 0 || code[at - 1] === "\n" || code[at - 1] === ";";
    const statement = lineStart ? sticky(STATIC_IMPORT, code, at) : null;
    const skipped = statement ?? sticky(/(["'])(?:\\[^]|(?!\1)[^\\\n])*\1|`(?:\\[^]|[^`\\])*`|\/\/.*|\/\*[^]*?\*\//y, code, at);
    const call = skipped ? null : sticky(/(?<![\w$.])import\s*\(/y, code, at);
    if (statement) text += awaited(statement);
    else text += call ? "__importFrom__(" : (skipped?.[0] ?? code[at]);
    at += (skipped ?? call)?.[0].length ?? 1;
  }
  return text;
}

const STATIC_IMPORT =
  /[ \t]*import\s+(?:([\w$]+)\s*,?\s*)?(?:\*\s*as\s+([\w$]+)\s*|\{([^}]*)\}\s*)?(?:from\s*)?(["'])([^"'\n]+)\4[ \t]*;?/y;

function sticky(pattern, code, at) {
  pattern.lastIndex = at;
  return pattern.exec(code);
}

function awaited([, name, space, names, , from]) {
  const module = `await __importFrom__(${JSON.stringify(from)})`;
  if (space) return `const ${space} = ${module};${name ? `const ${name} = ${space}.default;` : ""}`;
  const parts = [
    ...(name ? [`default: ${name}`] : []),
    ...(names ?? "")
      .split(",")
      .map((part) => part.trim().replace(/\s+as\s+/, ": "))
      .filter(Boolean),
  ];
  return parts.length > 0 ? `const { ${parts.join(", ")} } = ${module};` : `${module};`;
}

// Modules are found from the folder in which the code runs, not from where this file lies.
let resolver;
globalThis.__importFrom__ = async (specifier, options) => {
  resolver ??= import("data:text/javascript,export default (name, from) => import.meta.resolve(name, from)");
  const { default: resolve } = await resolver;
  return import(resolve(String(specifier), pathToFileURL(join(process.cwd(), "cell.js")).href), options);
};

let interrupt;
let source;
let cells = 0;
// The script is what Ctrl-C can break: everything the cell does before its first await happens within it.
globalThis[Symbol.for("cleanroom.start")] = () => {
  const answer = post("Runtime.evaluate", { expression: source, replMode: true, awaitPromise: true });
  answer.catch(() => undefined);
  return answer;
};
const starter = new Script("globalThis[Symbol.for('cleanroom.start')]()");

async function runCell(code) {
  cells += 1;
  source = `${withImports(code)}\n//# sourceURL=cell-${cells}`;
  const interrupted = new Promise((_resolve, reject) => {
    interrupt = () => reject(Object.assign(new Error("Interrupted"), { name: "Interrupted", stack: "Interrupted" }));
  });
  interrupted.catch(() => undefined);
  send("began");
  const answer = await Promise.race([starter.runInThisContext({ breakOnSigint: true }), interrupted]);
  if (answer.exceptionDetails)
    throw answer.exceptionDetails.exception ? await valueOf(answer.exceptionDetails.exception) : new Error(answer.exceptionDetails.text);
  const value = answer.result.type === "undefined" ? undefined : await valueOf(answer.result);
  if (value !== undefined) sendResult("main", bundle(value));
}

async function run(mark, code, ...pairs) {
  const before = {};
  for (let index = 0; index + 1 < pairs.length; index += 2) {
    before[pairs[index]] = process.env[pairs[index]];
    process.env[pairs[index]] = pairs[index + 1];
  }
  let ok = true;
  try {
    await runCell(code);
  } catch (error) {
    ok = error instanceof Exit && error.code === 0;
    if (!ok)
      sendError(
        error?.code === "ERR_SCRIPT_EXECUTION_INTERRUPTED"
          ? Object.assign(new Error("Interrupted"), { name: "Interrupted", stack: "Interrupted" })
          : error,
      );
  }
  interrupt = undefined;
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write(mark, resolve))));
  send("done", ok ? "ok" : "error");
}

function adopt(cwd, ...pairs) {
  for (let index = 0; index + 1 < pairs.length; index += 2) process.env[pairs[index]] = pairs[index + 1];
  process.chdir(cwd);
  globalThis.require = createRequire(join(process.cwd(), "cell.js"));
}

async function serve() {
  let held = Buffer.alloc(0);
  for await (const chunk of channel) {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 4 && held.length >= 4 + held.readUInt32LE(0)) {
      const payload = held.subarray(4, 4 + held.readUInt32LE(0));
      held = held.subarray(4 + payload.length);
      const parts = [];
      for (let at = 0; at < payload.length; at += 4 + payload.readUInt32LE(at))
        parts.push(payload.toString("utf8", at + 4, at + 4 + payload.readUInt32LE(at)));
      const [kind, ...rest] = parts;
      if (kind === "run") await run(...rest);
      else adopt(...rest);
    }
  }
  process.reallyExit(0);
}

process.exit = (code = 0) => {
  throw Object.assign(new Exit(`process.exit(${code})`), { name: "SystemExit", code });
};
process.on("SIGINT", () => interrupt?.());
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error) => {
    // An interrupted cell leaves the inspector's own promise behind.
    const own = error instanceof Exit || /Execution was terminated/.test(error?.message);
    if (!own) process.stderr.write(`Uncaught ${inspect(error)}\n`);
  });
}
globalThis.require = createRequire(join(process.cwd(), "cell.js"));
void serve();
