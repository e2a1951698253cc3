import { readFileSync } from "node:fs";
import { Agent as AgentHttp, request as requestHttp, type IncomingHttpHeaders, type IncomingMessage, type RequestOptions } from "node:http";
import { Agent as AgentHttps, request as requestHttps } from "node:https";
import { buffer } from "node:stream/consumers";
import * as z from "zod";
import { signAcs3 } from "#contract/acs3.ts";
import { AGENTRUN, AgentrunFailure, envelope } from "#contract/agentrun.ts";
import type { Key } from "#contract/project.ts";
import { signAgentrun4 } from "#gateway/agentrun/signature.ts";
import type { DoorFacts } from "./door.ts";

/** A request exactly as it will be written, so that a test can alter or repeat it. */
export interface Wire {
  origin: string;
  caFile?: string;
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: string | Uint8Array;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  bytes: Buffer;
  /** The body as JSON; undefined when it is none. */
  body: unknown;
}

/** How a data call says who it is: AgentRun's token, its signature, or the key in the endpoint's path with an empty token. */
export type Credential = { token: string } | { signature: Key } | { prefix: string } | { signature: Key; prefix: string };

/** A control call as the generated client makes it: TLS, ACS3 over version, action, nonce and body hash. */
export function controlWire(door: DoorFacts, key: Key, method: string, path: string, body?: unknown, now = Date.now()): Wire {
  const origin = door.tlsOrigin;
  const url = `${AGENTRUN}${path}`;
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers: Record<string, string> = {
    host: new URL(origin).host,
    accept: "application/json",
    "user-agent": "AlibabaCloud (linux; x64) Node.js/v24 Core/1.0.8 TeaDSL/2",
    "x-acs-version": "2025-09-10",
    "x-acs-action": "Call",
    "x-acs-credentials-provider": "static_ak",
    ...(text === undefined ? {} : { "content-type": "application/json; charset=utf-8" }),
  };
  const signed = signAcs3({ method, url, headers, ...(text === undefined ? {} : { body: text }) }, key, now);
  return { origin, caFile: door.caFile, method, path: url, headers: signed, ...(text === undefined ? {} : { body: text }) };
}

/** A data call as the SDKs make it: JSON with its length, a credential of one of the kinds, plain HTTP. */
export function dataWire(door: DoorFacts, credential: Credential, method: string, path: string, body?: unknown, now = Date.now()): Wire {
  const url = "prefix" in credential ? `/k/${credential.prefix}${path}` : path;
  const host = new URL(door.origin).host;
  const raw = body instanceof Uint8Array;
  const content = body === undefined ? undefined : raw ? body : JSON.stringify(body);
  const headers: Record<string, string> = {
    host,
    "content-type": "application/json",
    "user-agent": "AgentRunDataClient/1.0",
    ...(content === undefined ? {} : { "content-length": String(Buffer.byteLength(content)) }),
    ...proofOf(credential, method, url, host, now),
  };
  return { origin: door.origin, method, path: url, headers, ...(content === undefined ? {} : { body: content }) };
}

function proofOf(credential: Credential, method: string, url: string, host: string, now: number): Record<string, string> {
  if ("token" in credential) return { "Agentrun-Access-Token": credential.token };
  if (!("signature" in credential)) return { "Agentrun-Access-Token": "" };
  return signAgentrun4({ method, url, host }, { ...credential.signature, region: "cn-hangzhou" }, now);
}

/** Writes a request and reads its answer whole. A body without a length goes in chunks, as the generated client sends it. */
export async function sendWire(wire: Wire): Promise<Answer> {
  const url = new URL(wire.origin);
  // A connection that stays, as the SDKs keep theirs: one that is to be closed ends with its answer, whatever is still being sent.
  const agent = url.protocol === "https:" ? new AgentHttps({ keepAlive: true }) : new AgentHttp({ keepAlive: true });
  try {
    return await sendOn(agent, url, wire);
  } finally {
    agent.destroy();
  }
}

async function sendOn(agent: AgentHttp, url: URL, wire: Wire): Promise<Answer> {
  const options: RequestOptions = {
    host: url.hostname,
    port: url.port,
    method: wire.method,
    path: wire.path,
    headers: wire.headers,
    agent,
  };
  const ca = wire.caFile === undefined ? {} : { ca: readFileSync(wire.caFile) };
  const sent = url.protocol === "https:" ? requestHttps({ ...options, ...ca }) : requestHttp(options);
  const responded = new Promise<IncomingMessage>((resolve, reject) => {
    sent.once("error", reject);
    sent.once("response", resolve);
  });
  // Written apart from the end, so that a body of unknown length is not given one.
  if (wire.body !== undefined) sent.write(wire.body);
  sent.end();
  const response = await responded;
  const bytes = await buffer(response);
  return { status: response.statusCode ?? 0, headers: response.headers, bytes, body: jsonOf(bytes) };
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

/** The data of a success; anything else is an error that shows the answer. */
export function dataOf<S extends z.ZodType>(schema: S, answer: Answer): z.output<S> {
  if (answer.status !== 200) throw new Error(`The answer is ${answer.status}, not 200: ${answer.bytes.toString()}`);
  return schema.parse(envelope(z.unknown()).parse(answer.body).data);
}

/** The bare body of a success under a sandbox. */
export function bodyOf<S extends z.ZodType>(schema: S, answer: Answer): z.output<S> {
  if (answer.status !== 200) throw new Error(`The answer is ${answer.status}, not 200: ${answer.bytes.toString()}`);
  return schema.parse(answer.body);
}

const Failure = AgentrunFailure.pick({ code: true, requestId: true, message: true });

/** What both SDKs read of a failure, with its status. */
export function failureOf(answer: Answer): z.output<typeof Failure> & { status: number } {
  if (answer.status < 400) throw new Error(`The answer is ${answer.status}, not a failure: ${answer.bytes.toString()}`);
  return { ...Failure.parse(answer.body), status: answer.status };
}

/** A multipart form with one file, as the SDKs' upload sends it. */
export function uploadForm(path: string, fileName: string, content: Uint8Array): { contentType: string; body: Buffer } {
  const boundary = `----form${crypto.randomUUID()}`;
  const field = `--${boundary}\r\nContent-Disposition: form-data; name="path"\r\n\r\n${path}\r\n`;
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${fileName}"\r\nContent-Type: application/octet-stream\r\n\r\n`;
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    body: Buffer.concat([Buffer.from(field), Buffer.from(head), content, Buffer.from(`\r\n--${boundary}--\r\n`)]),
  };
}
