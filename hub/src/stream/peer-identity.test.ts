import { expect, it } from "vitest";
import { peerIdentity } from "./peer-identity.ts";

const certificate = (subjectaltname: string | undefined) => ({ subjectaltname, serialNumber: "00AB12", valid_to: "Nov 25 03:00:00 2026 GMT" }) as never;

it("reads the cluster from the one URI name", () => {
  expect(peerIdentity(certificate("URI:spiffe://flotilla/cluster/berlin-1"))).toEqual({
    cluster: "berlin-1",
    serial: "ab12",
    notAfter: new Date("2026-11-25T03:00:00Z"),
  });
});

it.each([
  undefined,
  "",
  "DNS:berlin-1",
  "URI:spiffe://other/cluster/berlin-1",
  "URI:spiffe://flotilla/cluster/",
  "URI:spiffe://flotilla/cluster/berlin-1/x",
  "URI:spiffe://flotilla/cluster/berlin-1, URI:spiffe://flotilla/cluster/rome-1",
  'URI:"spiffe://flotilla/cluster/berlin-1"',
  "DNS:a, URI:spiffe://flotilla/cluster/berlin-1",
  "URI:spiffe://flotilla/cluster/Berlin",
])("knows nobody in %s", (name) => {
  expect(peerIdentity(certificate(name))).toBeUndefined();
});
