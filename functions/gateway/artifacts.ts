import {
  changeArtifact,
  deleteArtifact,
  downloadArtifact,
  getArtifact,
  getArtifactUsage,
  keepArtifact,
  linkArtifact,
  listArtifacts,
} from "#contract/artifact.ts";
import { listArtifactEntries, previewArtifact, readArtifactEntry, readArtifactPicture } from "#contract/artifact-content.ts";
import * as entries from "#core/artifact-entries.ts";
import * as links from "#core/artifact-links.ts";
import { usageOf } from "#core/artifact-quotas.ts";
import * as retention from "#core/artifact-retention.ts";
import * as core from "#core/artifacts.ts";
import { openPicture } from "#core/pictures.ts";
import { previewArtifact as preview } from "#core/previews.ts";
import { download } from "./downloads.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

const NOTHING = new Blob([]);

export function mountArtifacts(app: App): void {
  const { platform, publicOrigin } = app.gateway;
  mount(app, keepArtifact).to(({ principal, params, body, signal }) =>
    core.keepArtifact(platform, principal.project, params.sandboxId, body, signal),
  );
  mount(app, listArtifacts).to(({ principal, query }) => core.listArtifacts(platform, principal.project, query));
  mount(app, getArtifactUsage).to(({ principal }) => usageOf(platform, principal.project));
  mount(app, getArtifact).to(({ principal, params }) => core.getArtifact(platform, principal.project, params.artifactId));
  mount(app, changeArtifact).to(({ principal, params, body }) =>
    retention.changeArtifact(platform, principal.project, params.artifactId, body),
  );
  mount(app, deleteArtifact).to(({ principal, params }) => core.deleteArtifact(platform, principal.project, params.artifactId));
  mount(app, linkArtifact).to(async ({ principal, params, body }) => {
    const { url, path, expiresAt } = await links.linkArtifact(platform, principal.project, params.artifactId, body.lifetimeMs);
    return { url: url ?? publicOrigin + path, expiresAt };
  });
  mount(app, downloadArtifact).toAnyone(async ({ params, query, request }) => {
    const row = await links.linkedArtifact(platform, params.artifactId, query);
    const { name, mediaType, sizeBytes, sha256 } = row.artifact;
    return download({ name, mediaType, sizeBytes, tag: sha256, open: (range) => links.openBytes(platform, row, range) }, request);
  });
  mount(app, previewArtifact).to(({ principal, params }) => preview(platform, principal.project, params.artifactId));
  mount(app, readArtifactPicture).to(async ({ principal, params, request }) =>
    download(await openPicture(platform, principal.project, params.artifactId), request),
  );
  mount(app, listArtifactEntries).to(({ principal, params, query }) =>
    entries.listEntries(platform, principal.project, params.artifactId, query),
  );
  mount(app, readArtifactEntry).to(async ({ principal, params, query, request }) => {
    const { row, entry } = await entries.findEntry(platform, principal.project, params.artifactId, query.path);
    const { path, sizeBytes, dataAt } = entry;
    const part = ({ start, end } = { start: 0, end: sizeBytes - 1 }) => ({ start: dataAt + start, end: dataAt + end });
    return download(
      {
        name: path.split("/").at(-1) ?? path,
        mediaType: "application/octet-stream",
        sizeBytes,
        tag: `${row.artifact.sha256}-${dataAt}`,
        open: async (range) => (sizeBytes === 0 ? NOTHING.stream() : links.openBytes(platform, row, part(range))),
      },
      request,
    );
  });
}
