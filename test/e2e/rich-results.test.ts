import assert from "node:assert/strict";
import { test } from "node:test";
import type { Execution } from "#contract/context.ts";
import { newTenant, openDoor, type Tenant } from "#support/door.ts";
import { makeBox } from "#support/box.ts";

const PNG = "89504e470d0a1a0a";

async function resultsOf(tenant: Tenant, id: string, code: string, language = "python"): Promise<Record<string, string>[]> {
  const answer = await tenant.json<Execution>("POST", `/sandboxes/${id}/contexts/execute`, { code, language, timeout: 120 });
  assert.equal(answer.exitCode, 0, answer.stderr);
  return answer.results.flatMap((item) => (item.type === "result" ? [item.data] : []));
}

test("a data frame is text and an HTML table, and a figure is PNG and SVG, in a sandbox as it comes", async () => {
  await using door = await openDoor();
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  const [frame] = await resultsOf(tenant, box.id, "import pandas as pd\npd.DataFrame({'deal': ['a', 'b'], 'amount': [1.5, 2]})");
  assert.match(frame?.["text/plain"] ?? "", /deal\s+amount/);
  assert.match(frame?.["text/html"] ?? "", /<table[^>]*>[\s\S]*<th>amount<\/th>/);
  const [figure] = await resultsOf(tenant, box.id, "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.title('deals')\nplt.show()");
  assert.equal(
    Buffer.from(figure?.["image/png"] ?? "", "base64")
      .subarray(0, 8)
      .toString("hex"),
    PNG,
  );
  assert.match(figure?.["image/svg+xml"] ?? "", /<svg[\s\S]*<\/svg>/);
});

test("numpy, scipy and openpyxl are there, and their work round-trips through a file", async () => {
  await using door = await openDoor();
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  const code = [
    "import numpy as np, pandas as pd, scipy.stats",
    "frame = pd.DataFrame({'x': np.arange(100), 'y': 3 * np.arange(100) + 1})",
    "frame.to_excel('/home/user/line.xlsx', index=False)",
    "back = pd.read_excel('/home/user/line.xlsx')",
    "round(scipy.stats.linregress(back.x, back.y).slope, 6)",
  ].join("\n");
  const [slope] = await resultsOf(tenant, box.id, code);
  assert.match(slope?.["text/plain"] ?? "", /3\.0/);
});

test("a JavaScript context keeps its names, awaits at the top and says what it made", async () => {
  await using door = await openDoor();
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  await resultsOf(tenant, box.id, "const deals = await Promise.resolve([{ amount: 2 }, { amount: 40 }])", "javascript");
  const [sum] = await resultsOf(tenant, box.id, "deals.reduce((all, { amount }) => all + amount, 0)", "javascript");
  assert.equal(sum?.["text/plain"], "42");
});
