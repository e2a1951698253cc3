import assert from "node:assert/strict";
import { after, test } from "node:test";
import { page } from "#contract/id.ts";
import { Template, TemplateType } from "#contract/template.ts";
import { makeBox } from "#support/box.ts";
import { statusesOf } from "#support/answers.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const make = async (spec: object, by = tenant) => Template.parse(await by.json("POST", "/api/templates", spec, 201));
const read = async (name: string) => Template.parse(await tenant.json("GET", `/api/templates/${name}`));

test("a template is made, read, changed and deleted", async () => {
  const made = await make({ name: "life", description: "first", cpu: 1, memoryMiB: 1024, environment: { A: "1" } });
  assert.partialDeepStrictEqual(made, { name: "life", type: "CodeInterpreter", cpu: 1, memoryMiB: 1024, version: 1, builtIn: false });
  assert.deepEqual(await read("life"), made);
  const changed = Template.parse(await tenant.json("PATCH", "/api/templates/life", { description: "second", memoryMiB: 2048 }));
  assert.partialDeepStrictEqual(changed, { description: "second", memoryMiB: 2048, cpu: 1, environment: { A: "1" }, version: 2 });
  await tenant.json("DELETE", "/api/templates/life", undefined, 204);
  await refused(tenant.send("GET", "/api/templates/life"), "template_not_found");
  await refused(tenant.send("DELETE", "/api/templates/life"), "template_not_found");
  await refused(tenant.send("PATCH", "/api/templates/life", { description: "third" }), "template_not_found");
});

test("the template that everybody has is there from the start, and nobody changes it", async () => {
  const builtIn = await read("code-interpreter");
  assert.equal(builtIn.builtIn, true);
  await refused(tenant.send("PATCH", "/api/templates/code-interpreter", { cpu: 1 }), "forbidden");
  await refused(tenant.send("DELETE", "/api/templates/code-interpreter"), "forbidden");
  await refused(tenant.send("POST", "/api/templates", { name: "code-interpreter" }), "already_exists");
});

test("the sizes of a template are what its sandboxes have, no more", async () => {
  await make({ name: "small", cpu: 0.5, memoryMiB: 512, diskMiB: 512 });
  await using box = await makeBox(tenant, { template: "small" });
  assert.partialDeepStrictEqual(box.sandbox, { cpu: 0.5, memoryMiB: 512, diskMiB: 512 });
  const disk = Number((await box.command("df --output=size -B 1M /home/user | tail -1")).result?.stdout);
  assert.ok(disk > 400 && disk <= 512, `a disk of ${disk} MiB`);
  const burnt = Number((await box.execute(BURN)).stdout);
  assert.ok(burnt > 0 && burnt < 0.65, `${burnt} s of cpu in each second`);
  assert.equal((await box.execute(fill(200))).stdout, "200\n");
  assert.notEqual((await box.execute(fill(600))).exitCode, 0);
});

test("the built-in template's sizes are what its sandboxes have", async () => {
  const { memoryMiB, diskMiB } = await read("code-interpreter");
  await using box = await makeBox(tenant);
  const disk = Number((await box.command("df --output=size -B 1M /home/user | tail -1")).result?.stdout);
  assert.ok(disk > diskMiB * 0.9 && disk <= diskMiB, `a disk of ${disk} MiB, not ${diskMiB}`);
  assert.equal((await box.execute(fill(memoryMiB / 2))).stdout, `${memoryMiB / 2}\n`);
});

test("a change is for the sandboxes to come: those that exist keep what they were made with", async () => {
  await make({ name: "growing", cpu: 1, memoryMiB: 1024, environment: { AGE: "old" } });
  await using older = await makeBox(tenant, { template: "growing" });
  await tenant.json("PATCH", "/api/templates/growing", { memoryMiB: 2048, environment: { AGE: "new" }, idleTimeoutMs: 90_000 });
  await using younger = await makeBox(tenant, { template: "growing" });
  assert.partialDeepStrictEqual(await older.read(), { memoryMiB: 1024, idleTimeoutMs: 600_000 });
  assert.partialDeepStrictEqual(await younger.read(), { memoryMiB: 2048, idleTimeoutMs: 90_000 });
  assert.equal((await older.command('printf "%s" "$AGE"')).result?.stdout, "old");
  assert.equal((await younger.command('printf "%s" "$AGE"')).result?.stdout, "new");
  assert.equal((await younger.execute(fill(1200))).stdout, "1200\n");
});

test("a type that there is none of is refused, naming those that there are", async () => {
  const problem = await refused(tenant.send("POST", "/api/templates", { name: "t-ship", type: "Spaceship" }), "invalid_request");
  for (const type of TemplateType.options) assert.ok(problem.detail.includes(type), problem.detail);
  await refused(tenant.send("GET", "/api/templates/t-ship"), "template_not_found");
});

test("a size that the engine cannot give is refused by name, and a refused change leaves the template as it was", async () => {
  for (const wrong of [{ cpu: 0 }, { memoryMiB: 100 }, { memoryMiB: 1000 }, { diskMiB: 2048 }, { diskMiB: -1 }]) {
    const problem = await refused(tenant.send("POST", "/api/templates", { name: "wrong", ...wrong }), "invalid_request");
    assert.match(problem.detail, new RegExp(Object.keys(wrong)[0] ?? ""));
  }
  const tooThin = { cpu: 4, memoryMiB: 1024 };
  await refused(tenant.send("POST", "/api/templates", { name: "thin", ...tooThin }), "invalid_request");
  await refused(tenant.send("GET", "/api/templates/thin"), "template_not_found");
  const made = await make({ name: "stays", cpu: 1, memoryMiB: 1024 });
  await refused(tenant.send("PATCH", "/api/templates/stays", { cpu: 4 }), "invalid_request");
  assert.deepEqual(await read("stays"), made);
  await using box = await makeBox(tenant, { template: "stays" });
  assert.equal(box.sandbox.cpu, 1);
});

test("a template in use is not deleted; when its last sandbox has ended it is", async () => {
  await make({ name: "used" });
  const box = await makeBox(tenant, { template: "used" });
  const problem = await refused(tenant.send("DELETE", "/api/templates/used"), "template_in_use");
  assert.equal(problem.details["sandboxId"], box.id);
  assert.equal((await box.execute("print(1)")).stdout, "1\n");
  await box[Symbol.asyncDispose]();
  await tenant.json("DELETE", "/api/templates/used", undefined, 204);
  await refused(tenant.send("POST", "/api/sandboxes", { template: "used" }), "template_not_found");
});

test("a name is taken once in a project, also when many want it at once, and is free in every other", async () => {
  const answers = await Promise.all(Array.from({ length: 5 }, () => tenant.send("POST", "/api/templates", { name: "wanted" })));
  assert.deepEqual(await statusesOf(answers), [201, 409, 409, 409, 409]);
  const other = await newTenant(door);
  await make({ name: "wanted", description: "theirs" }, other);
  assert.equal((await read("wanted")).description, "");
  await make({ name: "private" }, other);
  await refused(tenant.send("GET", "/api/templates/private"), "template_not_found");
  await refused(tenant.send("POST", "/api/sandboxes", { template: "private" }), "template_not_found");
});

test("templates are listed by name in pages, the built-in ones in their places", async () => {
  const other = await newTenant(door);
  for (const name of ["zeta", "alpha", "delta"]) await make({ name }, other);
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const query: string = `limit=2${cursor === undefined ? "" : `&after=${cursor}`}`;
    const found = page(Template).parse(await other.json("GET", `/api/templates?${query}`));
    seen.push(...found.items.map(({ name }) => name));
    cursor = found.next;
  } while (cursor !== undefined);
  assert.deepEqual(seen, ["all-in-one", "alpha", "browser", "code-interpreter", "delta", "desktop", "zeta"]);
});

/** Two threads of work for two seconds; prints the cpu time of each second. */
const BURN = `
import subprocess, sys, resource, time
work = "import time\\nend = time.time() + 2\\nwhile time.time() < end: pass"
began = time.time()
for one in [subprocess.Popen([sys.executable, "-S", "-c", work]) for _ in range(2)]: one.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print((used.ru_utime + used.ru_stime) / (time.time() - began))
`;

/** Takes and touches so much memory, gives it back, and says how much it was. */
function fill(sizeMiB: number): string {
  return `held = bytearray(${sizeMiB} * 1024 * 1024)\nfor page in range(0, len(held), 4096): held[page] = 1\ndel held\nprint(${sizeMiB})`;
}
