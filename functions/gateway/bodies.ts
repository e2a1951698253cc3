import type { IncomingMessage } from "node:http";
import { finished } from "node:stream";

/**
 * A request's body as a web stream of its socket's own pieces, which wait in the socket until they are asked for: the
 * streams that the HTTP framework wraps around it cost more than hashing what comes. Given up, what is left is for
 * the framework to read off once it has answered.
 */
export function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  let stop: (() => void) | undefined;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const take = (piece: Uint8Array) => {
          controller.enqueue(piece);
          if ((controller.desiredSize ?? 0) <= 0) incoming.pause();
        };
        incoming.on("data", take);
        incoming.pause();
        const unwatch = finished(incoming, { writable: false }, (error) => {
          if (error) controller.error(error);
          else controller.close();
        });
        stop = () => {
          unwatch();
          incoming.off("data", take).pause();
        };
      },
      pull() {
        incoming.resume();
      },
      cancel() {
        stop?.();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: incoming.readableHighWaterMark }),
  );
}
