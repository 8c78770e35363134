import { describe, expect, it } from "vitest";
import { caHashesOf, casIn } from "./trusted-cas.ts";

/** Made with OpenSSL: a CA, and a certificate that it signed. */
const ca = `-----BEGIN CERTIFICATE-----
MIIBcTCCARegAwIBAgIUMcngz67hFrMAW8i62+iAzdg50dswCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCY2EwIBcNMjYxMTI5MDcyMDAxWhgPMjEyNjExMDUwNzIwMDFa
MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZ8A/xz87
9hD7bY7iFrSzAYv1p/LxhoKAbF89vuJjx7VwM0tUMWP5omut0HCmkOPRmc1E9Qjv
i4CSrlNS3xXVHqNTMFEwHQYDVR0OBBYEFF+YFSISZotuivl4CwDz97SuCER9MB8G
A1UdIwQYMBaAFF+YFSISZotuivl4CwDz97SuCER9MA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDSAAwRQIgb/6AM6XAYV9Y6DbePPKS6xE6V/8h6KTT1SChxJIe
7ooCIQDoK2243vMJpiH0Rw5OCokuXymefP8ran3LdOh+Vkqx1g==
-----END CERTIFICATE-----
`;
const caHash = "ab651bedfefea2944c9452249f73bc9b19e0952fe0d5d54200a79c7684f7399a";
const leaf = `-----BEGIN CERTIFICATE-----
MIIBbTCCAROgAwIBAgIUFdVbjclVvAP/86k6k7mIoecDoHEwCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCY2EwIBcNMjYxMTI5MDcyMDAxWhgPMjEyNjExMDUwNzIwMDFa
MA8xDTALBgNVBAMMBGxlYWYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASXIyTU
Mf5RhiS4aODOPtvVvoDgSLbU12IV88pUwHeqpQeINgRsRHFcctQjhkYjGnVvHJw9
ePAcz2FZx5ovcYfYo00wSzAJBgNVHRMEAjAAMB0GA1UdDgQWBBSBx7Y6QBawWDBx
Dc4xxOscpqJD7zAfBgNVHSMEGDAWgBRfmBUiEmaLbor5eAsA8/e0rghEfTAKBggq
hkjOPQQDAgNIADBFAiBC5n3SoRZ45YN50pZAngSD38Ppl4oJ439P84A5lxRf1wIh
AMr71rV03ZjpI4xdJ4kPngRsxhI+/6WTmDrAuKoMNh/5
-----END CERTIFICATE-----
`;

describe("the hub's CAs as an agent takes them", () => {
  it("are read in their order, and called by the hash of their key", () => {
    expect(caHashesOf(ca)).toEqual([caHash]);
    expect(casIn(`# a remark\n${ca}\n${ca}`)).toHaveLength(2);
  });

  it("are refused when there is none, too many, or something else among them: what is trusted stays", () => {
    expect(() => casIn("")).toThrow("1 to 8");
    expect(() => casIn("trust me")).toThrow("1 to 8");
    expect(() => casIn(ca.repeat(9))).toThrow("1 to 8");
    expect(() => casIn(ca + leaf)).toThrow("is a certificate that is none");
    expect(() => casIn("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).toThrow();
    expect(() => casIn(ca + " ".repeat(70_000))).toThrow("1 to 8");
  });
});
