import { describe, expect, it } from "vitest";
import { inUrl, isLoopback, nearHost } from "./start-broker.ts";

describe("a listener's address", () => {
  it("is localhost for this machine where it listens on loopback or everywhere, else the one address where it does", () => {
    expect(["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"].map(nearHost)).toEqual(Array(5).fill("localhost"));
    expect(["192.0.2.7", "2001:db8::7", "hub.example.com"].map(nearHost).map(inUrl)).toEqual(["192.0.2.7", "[2001:db8::7]", "hub.example.com"]);
    expect(["127.0.0.5", "192.0.2.7", "0.0.0.0"].map(isLoopback)).toEqual([true, false, false]);
  });
});
