import { Problem } from "#contract/problem.ts";
import type { Stores } from "#core/ports.ts";

/** The cloud's stores. Objects are ready; tables and queue are not, and half a platform would lose what it was told. */
export async function openStores(): Promise<Stores> {
  throw new Problem("not_supported", {
    detail: "The platform `aliyun` needs adapters for Tablestore and MNS, which this version does not have; set CLEANROOM_PLATFORM=local",
    supported: ["local"],
  });
}
