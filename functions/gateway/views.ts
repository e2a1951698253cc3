import { Transform } from "node:stream";
import { rfbFilter } from "#core/rfb.ts";
import type { Principal } from "#core/projects.ts";
import { openViewing, type Viewing, WATCHING } from "#core/viewing.ts";
import { takerOf } from "./control.ts";
import type { Gateway } from "./gateway.ts";
import { binaryFrame, frameReader } from "./frames.ts";

const VIEW = /^\/ws\/(liveview|livestream)\/?(?=\?|$)/;

/** Whether a path inside a sandbox is one of the display's. */
export function isView(path: string): boolean {
  return VIEW.test(path);
}

/** Whether who has come by this credential may have control. */
export function mayControl({ purpose }: Principal): boolean {
  return purpose === undefined || purpose === "view:control";
}

/** The view of who has come by this credential. A key's is its owner's, and a ticket's what the ticket is for. */
export function openView(gateway: Gateway, principal: Principal, sandboxId: string): Viewing {
  if (!mayControl(principal)) return WATCHING;
  return openViewing(gateway.platform, principal.project, sandboxId, takerOf(principal));
}

/** What a viewer sends on its way to the display: input passes while it may, and what is no RFB ends the view. */
export function viewFilter(viewing: Viewing): Transform {
  const read = frameReader();
  const filter = rfbFilter((begins) => viewing.mayInput(begins));
  const stream = new Transform({
    async transform(chunk: Buffer, _encoding, done) {
      try {
        for (const piece of read(chunk)) {
          const passed = "control" in piece ? [piece.control] : framed(await filter(piece.data));
          for (const part of passed) stream.push(part);
        }
        done();
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
  });
  stream.once("close", () => viewing.close());
  return stream;
}

function framed(parts: Buffer[]): Buffer[] {
  return parts.length === 0 ? [] : [binaryFrame(parts)];
}
