import Type, { type Static } from "typebox";
import { fieldQueryLimits } from "@flotilla/proto/field-query";
import { ignoreDefaultNames } from "@flotilla/proto/ignore-defaults";
import { fleetApiVersion, maxNameChars } from "@flotilla/proto/names";
import { words } from "@flotilla/proto/directives";
import { maxBundlesPerTarget } from "@flotilla/proto/limits";

/**
 * The structure of fleet.yaml: types, checks (check-structure.ts) and the published JSON Schema come from here. A `title` is a
 * noun phrase: messages say "'x' is not a <title>".
 */

/** Overlays of a bundle and waves of a rollout: every cluster walks through all of them. */
const overlaysMax = 200;
const wavesMax = 100;
const gatesMax = 10;
const patchesMax = 100;
const rulesMax = 100;
const expressionsMax = 50;

const closed = { additionalProperties: false } as const;

const Name = Type.String({
  pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
  maxLength: maxNameChars,
  title: "name (lower-case letters, digits and '-', starting and ending with a letter or digit, at most 63 characters)",
});

const Path = Type.String({ maxLength: 1_024, title: "path of a folder in the repository, relative to the fleet's path" });

const Duration = Type.String({
  pattern: "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$",
  maxLength: 32,
  title: "duration such as 90s, 5m or 1h30m",
});

const Percent = Type.String({ pattern: "^(100|[0-9]{1,2})%$", title: "percentage from 0% to 100%" });

const CountOrPercent = Type.Union([Type.Integer({ minimum: 0, maximum: 1_000_000 }), Percent], {
  title: "whole number or percentage such as 10%",
});

const Values = Type.Record(Type.String(), Type.Unknown(), { description: "Values for ${…} in plain YAML and for Helm" });

const Selector = Type.Object(
  {
    matchLabels: Type.Optional(Type.Record(Type.String(), Type.String(), { description: "Every label must have this value" })),
    matchExpressions: Type.Optional(
      Type.Array(
        Type.Object(
          {
            key: Type.String(),
            operator: Type.Enum(["In", "NotIn", "Exists", "DoesNotExist"]),
            values: Type.Optional(Type.Array(Type.String())),
          },
          closed,
        ),
        { maxItems: expressionsMax },
      ),
    ),
  },
  { ...closed, title: "label selector", description: "A Kubernetes label selector over clusters; an empty one selects all" },
);

const Pointer = Type.String({
  pattern: "^(/([^~/]|~[01])*)+$",
  title: "JSON pointer such as /spec/replicas ('~1' stands for '/' in a key)",
});

const PatchTarget = Type.Object(
  {
    group: Type.Optional(Type.String()),
    version: Type.Optional(Type.String()),
    kind: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    namespace: Type.Optional(Type.String()),
    labelSelector: Type.Optional(Type.String()),
    annotationSelector: Type.Optional(Type.String()),
  },
  { ...closed, description: "Which objects the patch is for, as in a kustomization" },
);

const Patch = Type.Object(
  {
    target: Type.Optional(PatchTarget),
    patch: Type.Union([Type.String({ minLength: 1 }), Type.Record(Type.String(), Type.Unknown()), Type.Array(Type.Unknown(), { minItems: 1 })], {
      title: "patch: YAML text, an object (strategic merge) or a list of operations (JSON 6902)",
    }),
  },
  closed,
);

const Overlay = Type.Object(
  {
    clusters: Selector,
    path: Type.Optional(Path),
    values: Type.Optional(Values),
    patches: Type.Optional(Type.Array(Patch, { maxItems: patchesMax })),
  },
  { ...closed, description: "What differs for some clusters" },
);

const IgnoreRule = Type.Object(
  {
    group: Type.Optional(Type.String()),
    kind: Type.Optional(Type.String()),
    namespace: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    paths: Type.Optional(Type.Array(Pointer, { minItems: 1, maxItems: rulesMax })),
    queries: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: fieldQueryLimits.chars }), {
        minItems: 1,
        maxItems: rulesMax,
        description: 'Paths in the manner of jq: .spec.template.spec.containers[] | select(.name == "istio-proxy")',
      }),
    ),
    managers: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 128 }), {
        minItems: 1,
        maxItems: rulesMax,
        description: "Field managers: the rule counts only for fields that one of them holds; without paths and queries for every such field",
      }),
    ),
  },
  { ...closed, description: "Fields that drift does not look at: paths, queries or managers, and for which objects" },
);

const DriftDefaults = Type.Object(
  {
    off: Type.Array(Type.Enum([...ignoreDefaultNames]), {
      maxItems: 50,
      description: "Shipped ignore rules that do not count here; 'fleet drift defaults' lists them",
    }),
  },
  closed,
);

const Drift = Type.Object(
  {
    mode: Type.Optional(Type.Enum(["heal", "report", "heal-unless-drifted"])),
    ignore: Type.Optional(Type.Array(IgnoreRule, { maxItems: rulesMax })),
    defaults: Type.Optional(DriftDefaults),
  },
  closed,
);

const HealthCheck = Type.Object(
  {
    group: Type.Optional(Type.String()),
    kind: Type.String({ minLength: 1 }),
    inProgress: Type.Optional(Type.String({ minLength: 1, description: "CEL, asked first: true is InProgress" })),
    failed: Type.Optional(Type.String({ minLength: 1, description: "CEL, asked second: true is Failed" })),
    current: Type.Optional(Type.String({ minLength: 1, description: "CEL, asked last: true is Current, false InProgress" })),
  },
  { ...closed, description: "How the health of one kind is judged instead of by the shipped rule" },
);

const ServiceAccount = Type.String({
  pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
  maxLength: 63 + 1 + 253,
  title: "service account written as namespace/name",
  description: "Impersonated for everything that is done to the bundle's objects",
});

const Health = Type.Object(
  {
    timeout: Type.Optional(Duration),
    checks: Type.Optional(Type.Array(HealthCheck, { maxItems: rulesMax })),
  },
  closed,
);

const Prune = Type.Object(
  {
    budget: Type.Optional(CountOrPercent),
    mode: Type.Optional(
      Type.Enum([...words.prune], { description: "What becomes of objects that are no longer in Git; an object's annotation flotilla.dev/prune wins" }),
    ),
  },
  closed,
);

/** All of a bundle's objects with ssa "ignore" would be a bundle that is not there: only single objects may say that. */
const bundleSsa = words.ssa.filter((word) => word !== "ignore");

const Apply = Type.Object(
  {
    ssa: Type.Optional(Type.Enum([...bundleSsa], { description: "Who wins where others hold fields; an object's annotation flotilla.dev/ssa wins" })),
    force: Type.Optional(
      Type.Enum([...words.force], {
        description: "Whether objects are deleted and made again where a field cannot be changed in place; an object's annotation flotilla.dev/force wins",
      }),
    ),
    adopt: Type.Optional(
      Type.Enum([...words.adopt], { description: "Whether objects that are there already are taken over; an object's annotation flotilla.dev/adopt wins" }),
    ),
  },
  { ...closed, description: "How objects are applied that say nothing themselves" },
);

const Dependency = Type.Union(
  [
    Type.String(),
    Type.Object(
      {
        bundle: Type.String(),
        ready: Type.Optional(
          Type.String({
            minLength: 1,
            description: "CEL over bundle (counts) and objects['Kind/namespace/name']: when this one may go on; default applied and healthy",
          }),
        ),
      },
      closed,
    ),
  ],
  { title: "bundle's name, or { bundle, ready }", description: "A bundle that must be ready before this one is applied" },
);

const Deadlines = Type.Object(
  {
    definitions: Type.Optional(Duration),
    hook: Type.Optional(Duration),
    stage: Type.Optional(Duration),
    dependsOn: Type.Optional(Duration),
    apply: Type.Optional(Duration),
  },
  closed,
);

const Deadline = Type.Union([Duration, Deadlines], {
  title: "duration such as 10m, or { definitions, hook, stage, dependsOn, apply }",
  description: "How long each phase may take before the status says that it is late",
});

/** Windows of one fleet or bundle: each is judged with every plan. */
const windowsMax = 50;

const SyncWindow = Type.Object(
  {
    schedule: Type.Optional(Type.String({ maxLength: 200, description: 'Cron, five fields: "30 22 * * 1-5"' })),
    duration: Type.Optional(Duration),
    from: Type.Optional(Type.String({ maxLength: 32, description: "Local time: 2026-12-24T18:00" })),
    to: Type.Optional(Type.String({ maxLength: 32 })),
    timeZone: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { ...closed, description: "schedule and duration, or from and to" },
);

const SyncWindows = Type.Object(
  {
    timeZone: Type.Optional(Type.String({ maxLength: 64, description: "IANA name; default UTC" })),
    allow: Type.Optional(Type.Array(SyncWindow, { maxItems: windowsMax, description: "Where there are any: closed outside of them" })),
    deny: Type.Optional(Type.Array(SyncWindow, { maxItems: windowsMax, description: "Closed while one is active, whatever allow says" })),
    whenClosed: Type.Optional(Type.Enum(["finish", "stop"], { description: "What becomes of a sync that is under way; default finish" })),
    heal: Type.Optional(Type.Boolean({ description: "Whether drift is corrected while closed; default false" })),
  },
  { ...closed, description: "When the agent may apply, prune and heal" },
);

const Bundle = Type.Object(
  {
    name: Name,
    path: Type.Optional(Path),
    namespace: Type.Optional(Name),
    dependsOn: Type.Optional(Type.Array(Dependency, { maxItems: maxBundlesPerTarget })),
    deadline: Type.Optional(Deadline),
    syncWindows: Type.Optional(SyncWindows),
    values: Type.Optional(Values),
    substitute: Type.Optional(Type.Boolean({ description: "false leaves ${…} in manifests as it is" })),
    overlays: Type.Optional(Type.Array(Overlay, { maxItems: overlaysMax })),
    combine: Type.Optional(Type.Enum(["first", "all"], { description: "Which matching overlays count" })),
    drift: Type.Optional(Drift),
    health: Type.Optional(Health),
    serviceAccount: Type.Optional(ServiceAccount),
    prune: Type.Optional(Prune),
    apply: Type.Optional(Apply),
  },
  { ...closed, description: "A folder released together: plain YAML, kustomization.yaml or Chart.yaml, found by itself" },
);

const Metric = Type.Object(
  {
    name: Name,
    address: Type.String({ minLength: 1, maxLength: 500, description: "Base URL of a Prometheus API as agents reach it: http://prometheus.monitoring:9090" }),
    query: Type.String({ minLength: 1, maxLength: 4_000, description: "PromQL" }),
    threshold: Type.String({
      pattern: "^(<|<=|>|>=|==|!=) *-?[0-9]+(\\.[0-9]+)?(e-?[0-9]+)?$",
      maxLength: 60,
      title: "comparison with a number such as < 0.01",
      description: "What every value must be",
    }),
    window: Type.Optional(Duration),
  },
  { ...closed, description: "A query that agents of the wave evaluate in their cluster; every sample of the window (default 5m) must meet the threshold" },
);

const Job = Type.Object(
  {
    name: Name,
    namespace: Name,
    spec: Type.Record(Type.String(), Type.Unknown(), { description: "spec of a batch/v1 Job" }),
    timeout: Type.Optional(Duration),
  },
  { ...closed, description: "A Job that agents of the wave run; its end is the answer. timeout: default 10m" },
);

const After = Type.Object(
  {
    healthy: Type.Optional(Type.Boolean({ description: "Every cluster of the wave is healthy; default true" })),
    soak: Type.Optional(Duration),
    approval: Type.Optional(Type.String({ minLength: 1, maxLength: maxNameChars, description: "Group of people, one of whom approves" })),
    metrics: Type.Optional(Type.Array(Metric, { maxItems: gatesMax })),
    jobs: Type.Optional(Type.Array(Job, { maxItems: gatesMax })),
    check: Type.Optional(Type.String({ minLength: 1, maxLength: 2_000, description: "CEL over wave and clusters" })),
  },
  { ...closed, description: "What must be true of this wave before the next one begins" },
);

const Wave = Type.Object(
  {
    name: Name,
    clusters: Type.Optional(Selector),
    maxConcurrency: Type.Optional(CountOrPercent),
    maxUnavailable: Type.Optional(CountOrPercent),
    windows: Type.Optional(SyncWindows),
    after: Type.Optional(After),
  },
  closed,
);

const Rollout = Type.Object(
  {
    waves: Type.Optional(Type.Array(Wave, { minItems: 1, maxItems: wavesMax })),
    failureBudget: Type.Optional(CountOrPercent),
    onFailure: Type.Optional(Type.Enum(["rollback", "hold"], { description: "What becomes of the clusters released; default rollback" })),
    progressDeadline: Type.Optional(Duration),
    onNewRevision: Type.Optional(
      Type.Enum(["supersede", "queue", "hold"], { description: "What becomes of a rollout when a newer revision comes; default supersede" }),
    ),
  },
  { ...closed, description: "Waves in which a revision reaches the fleet" },
);

const Removal = Type.Object(
  {
    policy: Type.Optional(Type.Enum(["orphan", "delete"], { description: "What becomes of their objects; default orphan" })),
    grace: Type.Optional(Duration),
  },
  { ...closed, description: "Clusters that the fleet no longer selects: how long they keep what they have (default 1h), and what then" },
);

const Spec = Type.Object(
  {
    clusters: Type.Optional(Selector),
    values: Type.Optional(Values),
    syncWindows: Type.Optional(SyncWindows),
    bundles: Type.Array(Bundle, { minItems: 1, maxItems: maxBundlesPerTarget }),
    removal: Type.Optional(Removal),
    rollout: Type.Optional(Rollout),
  },
  closed,
);

export const FleetSchema = Type.Object(
  {
    apiVersion: Type.Literal(fleetApiVersion),
    kind: Type.Literal("Fleet"),
    metadata: Type.Object({ name: Name }, closed),
    spec: Spec,
  },
  closed,
);

/** fleet.yaml as written, before defaults. */
export type FleetDocument = Static<typeof FleetSchema>;

/** Where the schema is published; a `$schema` comment in fleet.yaml names it, and editors complete from it. */
export const fleetSchemaId = `https://flotilla.dev/schemas/fleet.v1.json`;

/** The JSON Schema (2020-12) that is published and served at /schemas/fleet.v1.json. */
export function fleetJsonSchema(): Record<string, unknown> {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: fleetSchemaId,
    title: "Flotilla fleet",
    description: "fleet.yaml: which clusters a fleet governs and what they run",
    ...(JSON.parse(JSON.stringify(FleetSchema)) as object),
  };
}
