import { compileStatusRule, fieldOf, type StatusRule } from "./status-rule.ts";
import { because, conditionsOf, current, currentThough, failed, inProgress, readConditions, type HealthInput, type Rule } from "./verdict.ts";

/** Custom resources whose health can be said in conditions and fields, after their projects' public documentation. */
const statusRules: readonly StatusRule[] = [
  // cert-manager
  { group: "cert-manager.io", kinds: "Certificate", failed: ["Issuing=False/Failed"], current: ["Ready=True"], isFresh: true },
  { group: "cert-manager.io", kinds: "Issuer ClusterIssuer", failed: ["Ready=False/Err*"], current: ["Ready=True"], isFresh: true },
  {
    group: "cert-manager.io",
    kinds: "CertificateRequest",
    failed: ["Denied=True", "InvalidRequest=True", "Ready=False/Failed|Denied"],
    current: ["Ready=True"],
  },
  {
    group: "acme.cert-manager.io",
    kinds: "Order Challenge",
    failed: [".status.state=invalid|expired|errored"],
    current: [".status.state=valid|ready"],
    message: ".status.reason",
  },
  // Prometheus operator
  {
    group: "monitoring.coreos.com",
    kinds: "Prometheus PrometheusAgent Alertmanager ThanosRuler",
    suspended: [".spec.paused"],
    failed: ["Reconciled=False"],
    current: ["Available=True", "Reconciled=True"],
    isFresh: true,
  },
  // Strimzi
  {
    group: "kafka.strimzi.io",
    kinds: "Kafka KafkaConnect KafkaConnector KafkaBridge KafkaMirrorMaker2 KafkaTopic KafkaUser",
    suspended: ["ReconciliationPaused=True"],
    failed: ["NotReady=True/!Creating"],
    current: ["Ready=True"],
  },
  { group: "kafka.strimzi.io", kinds: "KafkaRebalance", failed: ["NotReady=True"], waits: ["ProposalReady=True"], current: ["Ready=True"] },
  { group: "access.strimzi.io", kinds: "KafkaAccess", failed: ["Ready=False"], current: ["Ready=True"] },
  // Argo
  {
    group: "argoproj.io",
    kinds: "Rollout",
    failed: ["InvalidSpec=True", ".status.phase=Degraded"],
    waits: [".status.phase=Paused"],
    current: [".status.phase=Healthy"],
    message: ".status.message",
  },
  {
    group: "argoproj.io",
    kinds: "Application",
    failed: [".status.health.status=Degraded", ".status.operationState.phase=Failed|Error"],
    current: [".status.health.status=Healthy|Suspended"],
    message: ".status.operationState.message",
  },
  { group: "argoproj.io", kinds: "ApplicationSet", failed: ["ErrorOccurred=True"], current: ["ResourcesUpToDate=True"] },
  {
    group: "argoproj.io",
    kinds: "Workflow AnalysisRun Experiment",
    failed: [".status.phase=Failed|Error"],
    waits: [".status.phase=Running"],
    current: [".status.phase=Succeeded|Successful|Inconclusive"],
    message: ".status.message",
  },
  // Flux
  {
    group: "*.toolkit.fluxcd.io",
    kinds:
      "Kustomization HelmRelease GitRepository HelmRepository HelmChart OCIRepository Bucket ExternalArtifact ImageRepository ImagePolicy ImageUpdateAutomation Receiver ArtifactGenerator",
    suspended: [".spec.suspend"],
    failed: ["Stalled=True", "Ready=False/*Failed"],
    inProgress: ["Reconciling=True"],
    current: ["Ready=True"],
  },
  // Knative: Unknown is on its way, False has failed.
  { group: "serving.knative.dev", kinds: "Service Configuration Revision Route", failed: ["Ready=False"], current: ["Ready=True"] },
  {
    group: "eventing.knative.dev",
    kinds: "Broker Trigger",
    failed: ["Ready=False"],
    current: ["Ready=True"],
  },
  { group: "sources.knative.dev", kinds: "ApiServerSource PingSource SinkBinding ContainerSource", failed: ["Ready=False"], current: ["Ready=True"] },
  { group: "messaging.knative.dev", kinds: "Channel InMemoryChannel Subscription", failed: ["Ready=False"], current: ["Ready=True"] },
  { group: "operator.knative.dev", kinds: "KnativeServing KnativeEventing", failed: ["Ready=False"], current: ["Ready=True"] },
  // Gateway API; routes are judged by each of their parents, below.
  {
    group: "gateway.networking.k8s.io",
    kinds: "Gateway",
    failed: ["Accepted=False/!Pending", "Programmed=False/Invalid|AddressNotUsable"],
    current: ["Accepted=True", "Programmed=True"],
    isFresh: true,
  },
  { group: "gateway.networking.k8s.io", kinds: "GatewayClass", failed: ["Accepted=False/!Pending|Waiting"], current: ["Accepted=True"], isFresh: true },
  // Cluster API: v1beta2 tells Available, v1beta1 Ready; the phase is in both.
  {
    group: "cluster.x-k8s.io",
    kinds: "Cluster",
    suspended: [".spec.paused"],
    failed: [".status.phase=Failed", ".status.failureReason"],
    inProgress: ["Available=False", "Ready=False"],
    current: [".status.phase=Provisioned"],
    message: ".status.failureMessage",
  },
  {
    group: "cluster.x-k8s.io",
    kinds: "Machine",
    failed: [".status.phase=Failed", ".status.failureReason"],
    inProgress: ["Available=False", "Ready=False"],
    current: [".status.phase=Running"],
    message: ".status.failureMessage",
  },
  {
    group: "cluster.x-k8s.io",
    kinds: "MachineDeployment MachinePool",
    suspended: [".spec.paused"],
    failed: [".status.phase=Failed", ".status.failureReason"],
    inProgress: ["Available=False", "Ready=False"],
    current: [".status.phase=Running"],
    message: ".status.failureMessage",
  },
  {
    group: "controlplane.cluster.x-k8s.io",
    kinds: "KubeadmControlPlane",
    failed: [".status.failureReason"],
    inProgress: ["Ready=False", "MachinesReady=False"],
    current: ["Available=True"],
    message: ".status.failureMessage",
  },
  // External Secrets: their messages may quote what they sync, and are left out (Secret-like kinds).
  {
    group: "external-secrets.io",
    kinds: "ExternalSecret",
    failed: ["Ready=False/*Error"],
    current: ["Ready=True"],
  },
  { group: "external-secrets.io", kinds: "ClusterExternalSecret", failed: ["Ready=False"], current: ["Ready=True"] },
  { group: "external-secrets.io", kinds: "PushSecret", failed: ["Ready=False/Errored"], current: ["Ready=True"] },
  {
    group: "external-secrets.io",
    kinds: "SecretStore ClusterSecretStore",
    failed: ["Ready=False/InvalidStoreConfiguration|InvalidProviderConfig|ValidationFailed"],
    current: ["Ready=True"],
  },
  { group: "bitnami.com", kinds: "SealedSecret", failed: ["Synced=False"], current: ["Synced=True"] },
  // KEDA
  { group: "keda.sh", kinds: "ScaledObject ScaledJob", suspended: ["Paused=True"], failed: ["Ready=False"], current: ["Ready=True"] },
  // Velero
  {
    group: "velero.io",
    kinds: "Backup Restore",
    failed: [".status.phase=Failed|PartiallyFailed|FailedValidation|FinalizingPartiallyFailed|WaitingForPluginOperationsPartiallyFailed"],
    waits: [".status.phase=InProgress|WaitingForPluginOperations|Finalizing|Queued|ReadyToStart"],
    current: [".status.phase=Completed"],
    message: ".status.failureReason",
  },
  { group: "velero.io", kinds: "Schedule", suspended: [".spec.paused"], failed: [".status.phase=FailedValidation"], current: [".status.phase=Enabled"] },
  {
    group: "velero.io",
    kinds: "BackupStorageLocation",
    failed: [".status.phase=Unavailable"],
    current: [".status.phase=Available"],
    message: ".status.message",
  },
  // CloudNativePG
  {
    group: "postgresql.cnpg.io",
    kinds: "Cluster",
    suspended: ["cnpg.io/hibernation=True"],
    failed: [".status.phase=Cluster is unrecoverable*|Unable to create required*|Cluster cannot*|Cluster has incomplete*"],
    waits: [".status.phase=Waiting for user action"],
    current: ["Ready=True", ".status.phase=Cluster in healthy state"],
    message: ".status.phaseReason",
  },
  {
    group: "postgresql.cnpg.io",
    kinds: "Backup",
    failed: [".status.phase=failed"],
    waits: [".status.phase=started|running|finalizing"],
    current: [".status.phase=completed"],
    message: ".status.error",
  },
  // Elastic
  {
    group: "elasticsearch.k8s.elastic.co",
    kinds: "Elasticsearch",
    failed: [".status.phase=Invalid"],
    inProgress: [".status.phase=ApplyingChanges|MigratingData|Stalled"],
    current: [".status.phase=Ready", ".status.health=green"],
  },
  { group: "kibana.k8s.elastic.co", kinds: "Kibana", current: [".status.health=green"] },
  { group: "apm.k8s.elastic.co", kinds: "ApmServer", current: [".status.health=green"] },
  { group: "beat.k8s.elastic.co", kinds: "Beat", current: [".status.health=green"] },
  { group: "agent.k8s.elastic.co", kinds: "Agent", current: [".status.health=green"] },
  // RabbitMQ
  {
    group: "rabbitmq.com",
    kinds: "RabbitmqCluster",
    failed: ["ReconcileSuccess=False"],
    current: ["AllReplicasReady=True", "ClusterAvailable=True", "ReconcileSuccess=True"],
  },
  { group: "rabbitmq.com", kinds: "Queue Exchange Binding User Vhost Policy Permission", failed: ["Ready=False"], current: ["Ready=True"] },
  // Istio: its status is written only where the analysis is turned on; no status is no trouble.
  { group: "sailoperator.io", kinds: "Istio IstioRevision IstioCNI ZTunnel", failed: ["Reconciled=False"], current: ["Ready=True"] },
  {
    group: "install.istio.io",
    kinds: "IstioOperator",
    failed: [".status.status=ERROR"],
    current: [".status.status=HEALTHY"],
    message: ".status.message",
  },
  // Tekton
  { group: "tekton.dev", kinds: "PipelineRun TaskRun", failed: ["Succeeded=False"], waits: ["Succeeded=Unknown"], current: ["Succeeded=True"] },
  // Operator Lifecycle Manager
  {
    group: "operators.coreos.com",
    kinds: "ClusterServiceVersion",
    failed: [".status.phase=Failed"],
    current: [".status.phase=Succeeded"],
    message: ".status.message",
  },
  {
    group: "operators.coreos.com",
    kinds: "Subscription",
    failed: ["ResolutionFailed=True", "InstallPlanFailed=True"],
    waits: [".status.state=UpgradePending"],
    current: [".status.state=AtLatestKnown"],
  },
  // Storage
  { group: "snapshot.storage.k8s.io", kinds: "VolumeSnapshot", failed: [".status.error"], current: [".status.readyToUse"], message: ".status.error.message" },
  {
    group: "ceph.rook.io",
    kinds: "CephCluster CephBlockPool CephFilesystem CephObjectStore",
    failed: [".status.phase=Failure"],
    current: [".status.phase=Ready|Connected"],
    message: ".status.message",
  },
  // Databases
  {
    group: "acid.zalan.do",
    kinds: "postgresql",
    failed: [".status.PostgresClusterStatus=CreateFailed|UpdateFailed|SyncFailed|Invalid"],
    current: [".status.PostgresClusterStatus=Running"],
  },
  {
    group: "mongodbcommunity.mongodb.com",
    kinds: "MongoDBCommunity",
    failed: [".status.phase=Failed"],
    current: [".status.phase=Running"],
    message: ".status.message",
  },
  // Contour
  {
    group: "projectcontour.io",
    kinds: "HTTPProxy",
    failed: [".status.currentStatus=invalid|orphaned"],
    current: [".status.currentStatus=valid"],
    message: ".status.description",
  },
];

/** Kinds that a table cannot say, with the words for a listing. */
const functionRules: readonly { readonly group: string; readonly kinds: string; readonly rule: Rule; readonly words: string }[] = [
  {
    group: "gateway.networking.k8s.io",
    kinds: "HTTPRoute GRPCRoute TLSRoute TCPRoute UDPRoute",
    rule: route,
    words:
      "every parent: Accepted=True and ResolvedRefs=True, of this generation; False is Failed, but for Accepted=False/Pending and a backend that is not there yet",
  },
  {
    group: "networking.istio.io",
    kinds: "*",
    rule: istio,
    words: "validationMessages of level ERROR are Failed; Reconciled=False is InProgress; without a status Current",
  },
  {
    group: "*.crossplane.io",
    kinds: "*",
    rule: crossplane,
    words: "LastAsyncOperation=False or Synced=False is Failed; then Ready, Healthy, Established, Offered or the like must be True",
  },
  { group: "*.upbound.io", kinds: "*", rule: crossplane, words: "as *.crossplane.io" },
];

/** Routes: one parent that refuses them is a failure, whatever the others say. */
function route(object: HealthInput): ReturnType<Rule> {
  const parents = object.status?.parents;
  if (!Array.isArray(parents) || parents.length === 0) return inProgress("no gateway has taken it up yet");
  const generation = object.metadata?.generation ?? 0;
  for (const parent of parents as { parentRef?: { name?: string }; conditions?: unknown }[]) {
    const name = `parent ${parent.parentRef?.name ?? "without a name"}`;
    const conditions = readConditions(parent.conditions);
    for (const type of ["Accepted", "ResolvedRefs"]) {
      const condition = conditions.find((one) => one.type === type);
      if (!condition) return inProgress(`${name}: ${type} is not reported yet`);
      if ((condition.observedGeneration ?? generation) < generation)
        return inProgress(`${name} has seen generation ${condition.observedGeneration} of ${generation}`);
      if (condition.status === "True") continue;
      const passes = condition.status !== "False" || condition.reason === "Pending" || condition.reason === "BackendNotFound";
      return (passes ? inProgress : failed)(`${name}: ${because(condition)}`);
    }
  }
  return current;
}

function istio(object: HealthInput): ReturnType<Rule> {
  const messages = object.status?.validationMessages;
  const error = Array.isArray(messages)
    ? (messages as { level?: unknown; type?: { code?: string } }[]).find((one) => one.level === "ERROR" || one.level === 3)
    : undefined;
  if (error) return failed(`its analysis says ${error.type?.code ?? "ERROR"}`);
  const reconciled = conditionsOf(object).find(({ type }) => type === "Reconciled");
  return reconciled?.status === "False" ? inProgress(because(reconciled)) : current;
}

/** Crossplane's own kinds that tell nothing. */
const crossplaneSilent: ReadonlySet<string> = new Set([
  "Composition",
  "CompositionRevision",
  "ClusterProviderConfig",
  "ControllerConfig",
  "DeploymentRuntimeConfig",
  "EnvironmentConfig",
  "ImageConfig",
  "ProviderConfig",
  "ProviderConfigUsage",
  "StoreConfig",
  "Usage",
]);

function crossplane(object: HealthInput): ReturnType<Rule> {
  const conditions = conditionsOf(object);
  const broken = conditions.find(({ type, status }) => (type === "LastAsyncOperation" || type === "Synced") && status === "False");
  if (broken) return failed(because(broken));
  const goals = ["Ready", "Healthy", "RevisionHealthy", "Established", "Offered", "ValidPipeline"];
  const goal = goals.flatMap((type) => conditions.find((one) => one.type === type) ?? [])[0];
  if (goal) return goal.status === "True" ? current : inProgress(because(goal));
  if (crossplaneSilent.has(object.kind ?? "")) return current;
  return conditions.length > 0 && fieldOf(object, ".spec.forProvider") === undefined
    ? currentThough("has no condition that health looks at")
    : inProgress("not seen by its controller yet");
}

/** One row of the listing: which kinds, and what the rule looks at. */
export interface HealthRuleRow {
  readonly group: string;
  readonly kinds: readonly string[];
  readonly rule: string;
}

const rules: ReadonlyMap<string, Rule> = new Map([
  ...statusRules.flatMap((row) => keysOf(row).map((key) => [key, compileStatusRule(row)] as const)),
  ...functionRules.flatMap((row) => keysOf(row).map((key) => [key, row.rule] as const)),
]);

function keysOf({ group, kinds }: { readonly group: string; readonly kinds: string }): string[] {
  return kinds.split(" ").map((kind) => `${group}/${kind}`);
}

/** The shipped rule of a custom kind: its own, its group's, or that of the groups whose name ends like its own. */
export function libraryRule(group: string, kind: string): Rule | undefined {
  const suffix = `*${group.slice(group.indexOf("."))}`;
  const groups = [group, `*.${group}`, ...suffixesOf(suffix)];
  for (const one of groups) {
    const rule = rules.get(`${one}/${kind}`) ?? rules.get(`${one}/*`);
    if (rule) return rule;
  }
  return undefined;
}

/** "*.s3.aws.upbound.io" also asks for "*.aws.upbound.io" and "*.upbound.io". */
function suffixesOf(suffix: string): string[] {
  const found: string[] = [];
  for (let rest = suffix; rest.split(".").length > 2; rest = `*${rest.slice(rest.indexOf(".", 2))}`) found.push(rest);
  return found;
}

/** Every shipped rule for custom kinds, in words, by group. */
export function listLibrary(): HealthRuleRow[] {
  const told = statusRules.map((row) => ({ group: row.group, kinds: row.kinds.split(" "), rule: wordsOf(row) }));
  const more = functionRules.map(({ group, kinds, words }) => ({ group, kinds: kinds.split(" "), rule: words }));
  return [...told, ...more].sort((a, b) => (a.group === b.group ? 0 : a.group < b.group ? -1 : 1));
}

function wordsOf(row: StatusRule): string {
  const part = (word: string, tests: readonly string[] | undefined, by: string) => (tests?.length ? [`${word}: ${tests.join(by)}`] : []);
  return [
    ...part("suspended", row.suspended, " or "),
    ...part("failed", row.failed, " or "),
    ...part("waits", row.waits, " or "),
    ...part("in progress", row.inProgress, " or "),
    ...part("current", row.current, " and "),
  ].join("; ");
}
