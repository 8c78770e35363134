import { describe, expect, it } from "vitest";
import { grantFor, rbacRefusalOf } from "./rbac-refusal.ts";

describe("a refusal of RBAC", () => {
  it.each([
    [
      'secrets "db" is forbidden: User "system:serviceaccount:flotilla-system:flotilla-agent" cannot patch resource "secrets" in API group "" in the namespace "shop"',
      'grant { apiGroups: [""], resources: ["secrets"], verbs: ["patch"] } in a Role of namespace shop to ServiceAccount flotilla-system/flotilla-agent',
    ],
    [
      'deployments.apps is forbidden: User "admin" cannot list resource "deployments" in API group "apps" at the cluster scope',
      'grant { apiGroups: ["apps"], resources: ["deployments"], verbs: ["list"] } in a ClusterRole to user admin',
    ],
    [
      'serviceaccounts "deployer" is forbidden: User "system:serviceaccount:a:b" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "shop"',
      'grant { apiGroups: [""], resources: ["serviceaccounts"], resourceNames: ["deployer"], verbs: ["impersonate"] } in a Role of namespace shop to ServiceAccount a/b',
    ],
    [
      'widgets.example.org "w" is forbidden: User "system:serviceaccount:a:b" cannot create resource "widgets" in API group "example.org" in the namespace "shop": RBAC: role.rbac.authorization.k8s.io "x" not found',
      'grant { apiGroups: ["example.org"], resources: ["widgets"], verbs: ["create"] } in a Role of namespace shop to ServiceAccount a/b',
    ],
    [
      'clusterroles.rbac.authorization.k8s.io "wide" is forbidden: user "system:serviceaccount:a:b" (groups=["x"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:["*"]}',
      'nobody may give rights that he has not: grant them, or { apiGroups: ["rbac.authorization.k8s.io"], resources: ["clusterroles"], resourceNames: ["wide"], verbs: ["escalate"] }, to ServiceAccount a/b',
    ],
    [
      'rolebindings.rbac.authorization.k8s.io "view" is forbidden: user "x" (groups=["y"]) is attempting to grant RBAC permissions not currently held:\n{}',
      'nobody may give rights that he has not: grant them, or { apiGroups: ["rbac.authorization.k8s.io"], resources: ["roles", "clusterroles"], verbs: ["bind"] } on the role it names, to user x',
    ],
  ])("%s is answered with what to grant", (message, grant) => {
    expect(grantFor(message)).toBe(grant);
  });

  it("is told from other answers of status 403", () => {
    expect(grantFor('pods "x" is forbidden: exceeded quota: small')).toBe("");
    expect(rbacRefusalOf('admission webhook "a" denied the request: User "x" cannot patch')).toBeUndefined();
  });
});
