import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { TargetSchema, type Target } from "@flotilla/proto/gen/target";
import { maxGrpcMessageBytes } from "@flotilla/proto/limits";
import type { Log } from "../log.ts";
import type { StateObjects } from "./state-objects.ts";

/** The last target of each fleet, in a Secret each: what the agent goes on with when it starts without the hub (G9). */
export class TargetStore {
  readonly #objects: StateObjects;
  readonly #log: Log;

  constructor(objects: StateObjects, log: Log) {
    this.#objects = objects;
    this.#log = log;
  }

  /** Every target held. One that cannot be read is left out and logged: the hub will send it again, and nothing is pruned for it. */
  async load(): Promise<Target[]> {
    const targets: Target[] = [];
    for (const { metadata, data } of await this.#objects.list("Secret", "target", { metadataOnly: false })) {
      try {
        const packed = Buffer.from(data?.target ?? "", "base64");
        targets.push(fromBinary(TargetSchema, zstdDecompressSync(packed, { maxOutputLength: maxGrpcMessageBytes })));
      } catch (error) {
        this.#log.error({ secret: metadata.name, err: error }, "a kept target cannot be read; waiting for the hub's");
      }
    }
    return targets;
  }

  async save(target: Target): Promise<void> {
    // A target of a thousand bundles is near 1 MiB, which is all that a Secret holds.
    const data = { target: zstdCompressSync(toBinary(TargetSchema, target)).toString("base64") };
    await this.#objects.put(
      "Secret",
      "target",
      nameOf(target.fleet),
      { "flotilla.dev/generation": String(target.generation), "flotilla.dev/revision": target.revision },
      data,
    );
  }

  async remove(fleet: string): Promise<void> {
    await this.#objects.remove("Secret", nameOf(fleet));
  }
}

function nameOf(fleet: string): string {
  return `flotilla-target-${fleet}`;
}
