import { exportAudit, getAuditHead, getAuditKey, listAudit, listAuditAnchors } from "#contract/audit.ts";
import { keyIdOf } from "#contract/audit-chain.ts";
import * as core from "#core/audit-log.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountAudit(app: App): void {
  const { platform } = app.gateway;
  mount(app, listAudit).to(({ principal, query }) => core.listAudit(platform, principal.project, query));
  mount(app, getAuditHead).to(({ principal }) => core.signedHead(platform, principal.project));
  mount(app, listAuditAnchors).to(({ principal, query }) => core.listAnchors(platform, principal.project, query));
  mount(app, exportAudit).to(({ principal }) => {
    const lines = core.exportAudit(platform, principal.project);
    const body = ReadableStream.from(lines).pipeThrough(new TextEncoderStream());
    const headers = { "content-type": "application/jsonl", "content-disposition": 'attachment; filename="audit.jsonl"' };
    return new Response(body, { headers });
  });
  mount(app, getAuditKey).toAnyone(() => {
    const publicKey = platform.vault.publicKey();
    return { keyId: keyIdOf(publicKey), algorithm: "Ed25519", publicKey };
  });
}
