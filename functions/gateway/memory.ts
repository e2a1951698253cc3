import { Readable } from "node:stream";
import * as contract from "#contract/memory-operations.ts";
import { exportMemory, importMemory } from "#core/memory/carry.ts";
import { createCollection, deleteCollection, getCollection, listCollections } from "#core/memory/collections.ts";
import { addEvents, listEvents } from "#core/memory/events.ts";
import { searchMemory } from "#core/memory/find.ts";
import { forgetMemory, listTombstones } from "#core/memory/forget.ts";
import { addRecord, getHistory, getRecord, listRecords, reviseRecord } from "#core/memory/records.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountMemory(app: App): void {
  mountCollections(app);
  mountRecords(app);
  const { platform } = app.gateway;
  mount(app, contract.addEvents).to(({ principal, params, body, signal }) =>
    addEvents(platform, principal.project, params.collection, body, signal),
  );
  mount(app, contract.listEvents).to(({ principal, params, query }) => {
    const { after, limit, last, ...filter } = query;
    return listEvents(platform, principal.project, params.collection, filter, { after, limit, last });
  });
  mount(app, contract.searchMemory).to(({ principal, params, body, signal }) =>
    searchMemory(platform, principal.project, params.collection, body, signal),
  );
  mount(app, contract.forgetMemory).to(({ principal, params, body }) => forgetMemory(platform, principal.project, params.collection, body));
  mount(app, contract.listTombstones).to(({ principal, query }) => listTombstones(platform, principal.project, query));
  mount(app, contract.exportMemory).to(async ({ principal, params, query }) => {
    // The first line is awaited, so that what is not there is said as such.
    await getCollection(platform, principal.project, params.collection);
    const lines = Readable.from(exportMemory(platform, principal.project, params.collection, query));
    return new Response(Readable.toWeb(lines), { headers: { "content-type": "application/x-ndjson" } });
  });
  mount(app, contract.importMemory).to(({ principal, params, request, signal }) =>
    importMemory(platform, principal.project, params.collection, request.body ?? Readable.from([]), signal),
  );
}

function mountCollections(app: App): void {
  const { platform } = app.gateway;
  mount(app, contract.createCollection).to(({ principal, body }) => createCollection(platform, principal.project, body));
  mount(app, contract.listCollections).to(({ principal, query }) => listCollections(platform, principal.project, query));
  mount(app, contract.getCollection).to(({ principal, params }) => getCollection(platform, principal.project, params.collection));
  mount(app, contract.deleteCollection).to(({ principal, params }) => deleteCollection(platform, principal.project, params.collection));
}

function mountRecords(app: App): void {
  const { platform } = app.gateway;
  mount(app, contract.addRecord).to(({ principal, params, body }) => addRecord(platform, principal.project, params.collection, body));
  mount(app, contract.listRecords).to(({ principal, params, query }) => {
    const { after, limit, ...filter } = query;
    return listRecords(platform, principal.project, params.collection, filter, { after, limit });
  });
  mount(app, contract.getRecord).to(({ principal, params }) => getRecord(platform, principal.project, params.collection, params.recordId));
  mount(app, contract.reviseRecord).to(({ principal, params, body }) =>
    reviseRecord(platform, principal.project, params.collection, params.recordId, body),
  );
  mount(app, contract.getRecordHistory).to(({ principal, params }) =>
    getHistory(platform, principal.project, params.collection, params.recordId),
  );
}
