import { eraseTrace, listSpans, readTrace, replayTask, streamSpans } from "#contract/span.ts";
import { deleteTraceExport, getTraceExport, setTraceExport } from "#contract/trace-export.ts";
import { followSpans, type SpanNews } from "#core/span-stream.ts";
import * as exports from "#core/trace-export.ts";
import { storyOf } from "#core/replay.ts";
import * as core from "#core/trace.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountSpans(app: App): void {
  const { platform } = app.gateway;
  mount(app, readTrace).to(({ principal, params }) => core.readTrace(platform, principal.project, params.taskId));
  mount(app, eraseTrace).to(({ principal, params }) => core.eraseTrace(platform, principal.project, params.taskId));
  mount(app, listSpans).to(({ principal, query }) => core.listSpans(platform, principal.project, query));
  mount(app, replayTask).to(async ({ principal, params }) => {
    const trace = await core.readTrace(platform, principal.project, params.taskId);
    const { task, dropped, truncated } = trace;
    return { task, steps: storyOf(trace), dropped, truncated };
  });
  mount(app, streamSpans).to(async ({ principal, query, signal }) => {
    const news = await followSpans(platform, principal.project, query, signal);
    const body = ReadableStream.from(eventsOf(news)).pipeThrough(new TextEncoderStream());
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  });
  mount(app, setTraceExport).to(({ principal, body }) => exports.setTraceExport(platform, principal.project, body));
  mount(app, getTraceExport).to(({ principal }) => exports.getTraceExport(platform, principal.project));
  mount(app, deleteTraceExport).to(({ principal }) => exports.deleteTraceExport(platform, principal.project));
}

async function* eventsOf(news: AsyncIterable<SpanNews>): AsyncGenerator<string> {
  for await (const one of news) {
    if ("span" in one) yield `event: span\ndata: ${JSON.stringify(one.span)}\n\n`;
    else if ("dropped" in one) yield `event: dropped\ndata: ${JSON.stringify(one)}\n\n`;
    else yield ": nothing new\n\n";
  }
}
