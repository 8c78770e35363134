import { describe, expect, it } from "vitest";
import { natsConfig } from "./nats.ts";

const account = `A${"B".repeat(55)}`;
const jwt = "eyJ0eXAi.eyJqdGki.c2ln-_";

describe("the broker's configuration", () => {
  it("preloads the accounts and opens nothing but the client port", () => {
    const text = natsConfig({
      name: "flotilla",
      host: "127.0.0.1",
      port: 4222,
      storeDir: "/d",
      operator: { jwt, accounts: [{ id: account, jwt }], systemAccountId: account },
    });
    expect(text).toContain(`operator: ${jwt}`);
    expect(text).toContain(`  ${account}: ${jwt}`);
    expect(text).not.toMatch(/http|websocket|mqtt|leafnodes|cluster/);
  });

  it.each([
    { jwt: `${jwt}\nno_auth_user: x`, accounts: [] },
    { jwt, accounts: [{ id: `${account} }`, jwt }] },
    { jwt, accounts: [{ id: account, jwt: "a.b" }] },
    { jwt, accounts: [], systemAccountId: "SYS" },
  ])("refuses what could become another line: %j", (operator) => {
    expect(() => natsConfig({ name: "flotilla", host: "127.0.0.1", port: 1, storeDir: "/d", operator })).toThrow(/not a valid/);
  });

  it("refuses a line break in a path", () => {
    expect(() => natsConfig({ name: "flotilla", host: "127.0.0.1", port: 1, storeDir: "/d\nx: y" })).toThrow(/line break/);
  });
});
