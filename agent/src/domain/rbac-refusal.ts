/** What RBAC refused, in the API server's own words. */
export interface RbacRefusal {
  readonly user: string;
  readonly verb: string;
  /** With its subresource: "deployments/scale". */
  readonly resource: string;
  readonly group: string;
  /** "" for what lies in no namespace, or in all of them. */
  readonly namespace: string;
  readonly name: string;
}

const refusal =
  /^[a-z0-9./-]+ (?:"([^"]*)" )?is forbidden: User "([^"]*)" cannot ([a-z]+) resource "([a-z0-9./-]+)" in API group "([a-z0-9.-]*)"(?: in the namespace "([a-z0-9-]+)"| at the cluster scope)/;

/** The refusal that a message of status 403 tells, or undefined when it tells something else (admission, a quota). */
export function rbacRefusalOf(message: string): RbacRefusal | undefined {
  const match = refusal.exec(message);
  if (!match) return undefined;
  const [, name = "", user = "", verb = "", resource = "", group = "", namespace = ""] = match;
  return { user, verb, resource, group, namespace, name };
}

const escalation =
  /^(role|clusterrole)(binding)?s?\.rbac\.authorization\.k8s\.io "([^"]*)" is forbidden: user "([^"]*)".* is attempting to grant RBAC permissions not currently held/s;

/**
 * What to grant so that it works, as one line with a rule that can be pasted; "" when the message is not about rights.
 *
 * @param message of an answer of status 403.
 */
export function grantFor(message: string): string {
  const refused = rbacRefusalOf(message);
  if (refused) return `grant ${ruleOf(refused)} ${placeOf(refused.namespace)} to ${accountOf(refused.user)}`;
  const [, kind, isBinding, name = "", user = ""] = escalation.exec(message) ?? [];
  if (kind === undefined) return "";
  const rule = isBinding
    ? `{ apiGroups: ["rbac.authorization.k8s.io"], resources: ["roles", "clusterroles"], verbs: ["bind"] } on the role it names`
    : `{ apiGroups: ["rbac.authorization.k8s.io"], resources: ["${kind}s"], resourceNames: ["${name}"], verbs: ["escalate"] }`;
  return `nobody may give rights that he has not: grant them, or ${rule}, to ${accountOf(user)}`;
}

function ruleOf({ verb, resource, group, name }: RbacRefusal): string {
  // To be somebody else is granted by name, or it is everything.
  const names = verb === "impersonate" && name !== "" ? `, resourceNames: ["${name}"]` : "";
  return `{ apiGroups: ["${group}"], resources: ["${resource}"]${names}, verbs: ["${verb}"] }`;
}

function placeOf(namespace: string): string {
  return namespace === "" ? "in a ClusterRole" : `in a Role of namespace ${namespace}`;
}

function accountOf(user: string): string {
  const [, , namespace, name] = user.split(":");
  return user.startsWith("system:serviceaccount:") && name !== undefined ? `ServiceAccount ${namespace}/${name}` : `user ${user}`;
}
