/** Sends these bytes, piece by piece. */
export function streamOf(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  const rest = [...chunks];
  return new ReadableStream({
    pull(controller) {
      const chunk = rest.shift();
      if (chunk) controller.enqueue(chunk);
      else controller.close();
    },
  });
}

/** Sends so many bytes and then breaks. */
export function breaking(sizeBytes: number): ReadableStream<Uint8Array> {
  let sent = false;
  return new ReadableStream({
    pull(controller) {
      if (sent) throw new Error("the sender broke");
      sent = true;
      controller.enqueue(new Uint8Array(sizeBytes));
    },
  });
}

/** Sends so many bytes and then neither more nor an end. */
export function stalling(sizeBytes: number) {
  const stalled = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  let sent = false;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (!sent) controller.enqueue(new Uint8Array(sizeBytes));
        else stalled.resolve();
        const wait = sent;
        sent = true;
        return wait ? new Promise<void>(() => {}) : undefined;
      },
      cancel: () => cancelled.resolve(),
    },
    { highWaterMark: 0 },
  );
  return { body, stalled: stalled.promise, cancelled: cancelled.promise };
}
