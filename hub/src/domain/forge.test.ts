import { expect, it } from "vitest";
import { forgePlaceOf } from "./forge.ts";

it("the forge of a repository is known by its host, or by what a person says", () => {
  expect(forgePlaceOf("https://github.com/acme/shop.git", {})).toEqual({ kind: "github", apiUrl: "https://api.github.com", project: "acme/shop" });
  expect(forgePlaceOf("ssh://git@gitlab.com/acme/web/shop.git", {})).toEqual({ kind: "gitlab", apiUrl: "https://gitlab.com/api/v4", project: "acme/web/shop" });
  expect(forgePlaceOf("https://codeberg.org/acme/shop", {})).toMatchObject({ kind: "gitea", apiUrl: "https://codeberg.org/api/v1" });
  expect(forgePlaceOf("https://git.example.com:8443/acme/shop.git", {})).toBeUndefined();
  expect(forgePlaceOf("https://git.example.com:8443/acme/shop.git", { kind: "github" })?.apiUrl).toBe("https://git.example.com:8443/api/v3");
  // A port of ssh says nothing about the API's.
  expect(forgePlaceOf("ssh://git@git.example.com:2222/acme/shop.git", { kind: "gitea" })?.apiUrl).toBe("https://git.example.com/api/v1");
  expect(forgePlaceOf("https://git.example.com/x.git", { kind: "gitlab", apiUrl: "https://api.example.com/v4/", project: "a/b" })).toEqual({
    kind: "gitlab",
    apiUrl: "https://api.example.com/v4",
    project: "a/b",
  });
});
