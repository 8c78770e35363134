/**
 * An object's id ("group/kind/namespace/name") for people: "Deployment shop/web", "Namespace shop", and with the group where the kind is
 * no Kubernetes kind: "Certificate.cert-manager.io shop/web". What is no id stays as it is.
 */
export function objectText(id: string): string {
  const parts = id.split("/");
  if (parts.length !== 4) return id;
  const [group = "", kind = "", namespace, name] = parts;
  return `${isBuiltIn(group) ? kind : `${kind}.${group}`} ${namespace === "" ? "" : `${namespace}/`}${name}`;
}

function isBuiltIn(group: string): boolean {
  return !group.includes(".") || group.endsWith(".k8s.io");
}

/**
 * Whether what somebody typed means an object: its id, or kind, namespace and name in that order and in any case, with slashes or blanks
 * between; kind, namespace or both may be left out.
 */
export function meansObject(id: string, typed: string): boolean {
  const wanted = typed.trim().toLowerCase();
  if (id.toLowerCase() === wanted) return true;
  const [group = "", kind = "", namespace = "", name = ""] = id.toLowerCase().split("/");
  const kinds = group === "" ? [kind] : [kind, `${kind}.${group}`];
  const words = wanted.split(/[\s/]+/).filter((word) => word !== "");
  const named = [[name], [namespace, name]].filter((parts) => !parts.includes(""));
  const forms = [...named, ...named.flatMap((parts) => kinds.map((word) => [word, ...parts]))];
  return forms.some((form) => form.length === words.length && form.every((part, index) => part === words[index]));
}
