import * as contract from "#contract/upload.ts";
import { Problem } from "#contract/problem.ts";
import { checkPart } from "#core/artifact-links.ts";
import * as core from "#core/uploads.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountUploads(app: App): void {
  const { platform, publicOrigin } = app.gateway;
  mount(app, contract.createUpload).to(({ principal, body }) => core.createUpload(platform, principal.project, body));
  mount(app, contract.listUploads).to(({ principal, query }) => core.listUploads(platform, principal.project, query));
  mount(app, contract.getUpload).to(({ principal, params }) => core.getUpload(platform, principal.project, params.uploadId));
  mount(app, contract.putUploadPart).to(({ principal, params, stream, signal }) =>
    core.putPart(platform, principal.project.id, params, stream(), signal),
  );
  mount(app, contract.linkUploadPart).to(async ({ principal, params, body }) => {
    const asked = { ...params, sizeBytes: body.sizeBytes };
    const { url, path, expiresAt } = await core.linkPart(platform, principal.project, asked, body.lifetimeMs);
    return { url: url ?? publicOrigin + path, expiresAt };
  });
  mount(app, contract.sendUploadPart).toAnyone(async ({ params, query, stream, signal }) => {
    const part = { ...params, sizeBytes: sizeOf(query.size) };
    const projectId = checkPart(platform, part, query);
    return core.putPart(platform, projectId, part, stream(), signal);
  });
  mount(app, contract.completeUpload).to(({ principal, params, body, signal }) =>
    core.completeUpload(platform, principal.project, params.uploadId, body, signal),
  );
  mount(app, contract.abortUpload).to(({ principal, params }) => core.abortUpload(platform, principal.project, params.uploadId));
}

function sizeOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new Problem("link_not_valid");
  return Number(text);
}
