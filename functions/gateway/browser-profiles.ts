import { deleteBrowserProfile, getBrowserProfile, listBrowserProfiles, saveBrowserProfile } from "#contract/browser-profile.ts";
import * as core from "#core/browser-profiles.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountBrowserProfiles(app: App): void {
  const { platform } = app.gateway;
  mount(app, saveBrowserProfile).to(({ principal, params, signal }) =>
    core.saveBrowserProfile(platform, principal.project, params.sandboxId, params.browserProfile, signal),
  );
  mount(app, listBrowserProfiles).to(({ principal }) => core.listBrowserProfiles(platform, principal.project));
  mount(app, getBrowserProfile).to(({ principal, params }) => core.getBrowserProfile(platform, principal.project, params.browserProfile));
  mount(app, deleteBrowserProfile).to(({ principal, params }) =>
    core.deleteBrowserProfile(platform, principal.project, params.browserProfile),
  );
}
