/** What a part of etcd held at one time. */
export interface HeldKeys {
  readonly prefix: string;
  /** Base64, as etcd's JSON gateway has them: a key's value and the revision of its last change. */
  readonly entries: ReadonlyMap<string, { readonly value: string; readonly revision: string }>;
}

interface Entry {
  key: string;
  value?: string;
  mod_revision: string;
}

/** etcd refuses more in one transaction than 128. */
const operationsAtOnce = 100;

/** Everything under a prefix that does not end by itself. */
export async function holdKeys(etcdUrl: string, prefix: string): Promise<HeldKeys> {
  const entries = (await range(etcdUrl, prefix, {})).filter(({ key }) => !endsByItself(key, prefix));
  return { prefix, entries: new Map(entries.map(({ key, value = "", mod_revision }) => [key, { value, revision: mod_revision }])) };
}

/** Deletes what came since, and puts back what was changed or deleted; whoever watches sees that as any other change. */
export async function putKeysBack(etcdUrl: string, held: HeldKeys): Promise<void> {
  const now = new Map((await range(etcdUrl, held.prefix, { keys_only: true })).map(({ key, mod_revision }) => [key, mod_revision]));
  const deletes = [...now.keys()].filter((key) => !held.entries.has(key) && !isLease(key, held.prefix));
  const puts = [...held.entries].filter(([key, { revision }]) => now.get(key) !== revision && !isLease(key, held.prefix));
  const operations = [...deletes.map((key) => ({ request_delete_range: { key } })), ...puts.map(([key, { value }]) => ({ request_put: { key, value } }))];
  for (let from = 0; from < operations.length; from += operationsAtOnce)
    await call(etcdUrl, "/v3/kv/txn", { success: operations.slice(from, from + operationsAtOnce) });
}

/** Events of the API server live for an hour. */
function endsByItself(key: string, prefix: string): boolean {
  return decoded(key).startsWith(`${prefix}/events/`);
}

/** What the API server renews for itself is newer than what was held. */
function isLease(key: string, prefix: string): boolean {
  return ["/leases/kube-system/", "/masterleases/", "/peerserverleases/"].some((folder) => decoded(key).startsWith(prefix + folder));
}

async function range(etcdUrl: string, prefix: string, options: { keys_only?: boolean }): Promise<Entry[]> {
  // "0" follows "/": everything below the prefix.
  const { kvs = [] } = (await call(etcdUrl, "/v3/kv/range", { key: encoded(`${prefix}/`), range_end: encoded(`${prefix}0`), ...options })) as { kvs?: Entry[] };
  return kvs;
}

async function call(etcdUrl: string, path: string, body: object): Promise<object> {
  const response = await fetch(`${etcdUrl}${path}`, { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`etcd refused ${path} with ${response.status}: ${await response.text()}`);
  return (await response.json()) as object;
}

function encoded(text: string): string {
  return Buffer.from(text).toString("base64");
}

function decoded(key: string): string {
  return Buffer.from(key, "base64").toString();
}
