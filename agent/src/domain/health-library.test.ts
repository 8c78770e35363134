import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { libraryRule, listLibrary } from "./health-library.ts";
import { assessHealth } from "./health.ts";
import type { HealthInput } from "./verdict.ts";

/** Objects in the shapes that the projects' documentation and their controllers show. */
interface Recorded {
  readonly healthy: Shape;
  readonly progressing: Shape;
  readonly failed: Shape;
  /** Words that the failure must be told with. */
  readonly because: RegExp;
}

interface Shape {
  readonly spec?: object;
  readonly status?: object;
  readonly metadata?: object;
}

const at = "2026-11-25T02:00:00Z";
const condition = (type: string, status: string, reason = "", message = "", observedGeneration?: number) => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: at,
  ...(observedGeneration !== undefined && { observedGeneration }),
});
const conditions = (...list: object[]): Shape => ({ status: { conditions: list } });
const phase = (word: string, more: object = {}): Shape => ({ status: { phase: word, ...more } });
const parent = (...list: object[]) => ({
  parentRef: { group: "gateway.networking.k8s.io", kind: "Gateway", name: "public", namespace: "infra" },
  controllerName: "example.net/gateway-controller",
  conditions: list,
});
const route = (...list: object[]): Shape => ({ metadata: { generation: 2 }, status: { parents: [parent(...list)] } });

const recorded: Readonly<Record<string, Recorded>> = {
  "cert-manager.io/v1 Certificate": {
    healthy: conditions(condition("Ready", "True", "Ready", "Certificate is up to date and has not expired", 1)),
    progressing: conditions(
      condition("Issuing", "True", "DoesNotExist", "Issuing certificate as Secret does not exist", 1),
      condition("Ready", "False", "DoesNotExist", "Issuing certificate as Secret does not exist", 1),
    ),
    failed: {
      status: {
        failedIssuanceAttempts: 1,
        lastFailureTime: at,
        conditions: [
          condition("Ready", "False", "DoesNotExist", "Issuing certificate as Secret does not exist", 1),
          condition("Issuing", "False", "Failed", "The certificate request has failed to complete and will be retried: order is invalid", 1),
        ],
      },
    },
    because: /Issuing=False \(Failed\): .*order is invalid/,
  },
  "cert-manager.io/v1 ClusterIssuer": {
    healthy: { status: { acme: { uri: "https://acme.example/acct/1" }, conditions: [condition("Ready", "True", "ACMEAccountRegistered", "", 1)] } },
    progressing: { status: {} },
    failed: conditions(
      condition("Ready", "False", "ErrRegisterACMEAccount", "Failed to register ACME account: 403 urn:ietf:params:acme:error:unauthorized", 1),
    ),
    because: /ErrRegisterACMEAccount/,
  },
  "cert-manager.io/v1 Issuer": {
    healthy: conditions(condition("Ready", "True", "KeyPairVerified", "Signing CA verified", 1)),
    progressing: conditions(condition("Ready", "True", "KeyPairVerified", "Signing CA verified", 0)),
    failed: conditions(condition("Ready", "False", "ErrGetKeyPair", 'Error getting keypair for CA issuer: secrets "ca" not found', 1)),
    because: /ErrGetKeyPair/,
  },
  "cert-manager.io/v1 CertificateRequest": {
    healthy: conditions(condition("Approved", "True", "cert-manager.io"), condition("Ready", "True", "Issued", "Certificate fetched from issuer successfully")),
    progressing: conditions(condition("Approved", "True", "cert-manager.io"), condition("Ready", "False", "Pending", "Waiting on certificate issuance")),
    failed: conditions(
      condition("Denied", "True", "policy.example", "no wildcards"),
      condition("Ready", "False", "Denied", "The CertificateRequest was denied"),
    ),
    because: /Denied=True .*no wildcards/,
  },
  "acme.cert-manager.io/v1 Order": {
    healthy: { status: { state: "valid" } },
    progressing: { status: { state: "pending", authorizations: [] } },
    failed: { status: { state: "errored", reason: "Failed to finalize Order: 429 too many certificates" } },
    because: /state is errored: .*429/,
  },
  "monitoring.coreos.com/v1 Prometheus": {
    healthy: conditions(condition("Available", "True", "", "", 1), condition("Reconciled", "True", "", "", 1)),
    progressing: conditions(
      condition("Available", "False", "SomePodsNotReady", "shard 0: pod prometheus-k8s-0: 1/2 ready", 1),
      condition("Reconciled", "True", "", "", 1),
    ),
    failed: conditions(
      condition("Available", "False", "NoPodReady", "", 1),
      condition("Reconciled", "False", "ReconciliationFailed", "StatefulSet spec.selector is immutable", 1),
    ),
    because: /ReconciliationFailed/,
  },
  "monitoring.coreos.com/v1 Alertmanager": {
    healthy: conditions(condition("Available", "True", "", "", 1), condition("Reconciled", "True", "", "", 1)),
    progressing: conditions(condition("Available", "Degraded", "SomePodsNotReady", "", 1), condition("Reconciled", "True", "", "", 1)),
    failed: conditions(condition("Reconciled", "False", "ReconciliationFailed", "undefined receiver", 1)),
    because: /undefined receiver/,
  },
  "monitoring.coreos.com/v1 ThanosRuler": {
    healthy: conditions(condition("Available", "True", "", "", 1), condition("Reconciled", "True", "", "", 1)),
    progressing: {},
    failed: conditions(condition("Available", "True", "", "", 1), condition("Reconciled", "False", "ReconciliationFailed", "no rules", 1)),
    because: /no rules/,
  },
  "kafka.strimzi.io/v1 Kafka": {
    healthy: { status: { observedGeneration: 1, clusterId: "x", conditions: [condition("Ready", "True")] } },
    progressing: { status: { observedGeneration: 1, conditions: [condition("NotReady", "True", "Creating", "Kafka cluster is being deployed")] } },
    failed: {
      status: { observedGeneration: 1, conditions: [condition("NotReady", "True", "InvalidResourceException", "Kafka my-cluster needs a KafkaNodePool")] },
    },
    because: /InvalidResourceException\): .*KafkaNodePool/,
  },
  "kafka.strimzi.io/v1 KafkaTopic": {
    healthy: { status: { observedGeneration: 1, topicName: "orders", conditions: [condition("Ready", "True")] } },
    progressing: {},
    failed: {
      status: {
        observedGeneration: 1,
        conditions: [
          condition("Ready", "False", "NotSupported", "Decreasing partitions not supported"),
          condition("NotReady", "True", "NotSupported", "Decreasing partitions not supported"),
        ],
      },
    },
    because: /Decreasing partitions/,
  },
  "kafka.strimzi.io/v1 KafkaConnect": {
    healthy: conditions(condition("Ready", "True")),
    progressing: { metadata: { generation: 2 }, status: { observedGeneration: 1, conditions: [condition("Ready", "True")] } },
    failed: conditions(condition("NotReady", "True", "TimeoutException", "Exceeded timeout of 300000ms while waiting for Pods")),
    because: /TimeoutException/,
  },
  "argoproj.io/v1alpha1 Rollout": {
    healthy: { metadata: { generation: 4 }, status: { observedGeneration: "4", phase: "Healthy", replicas: 3, availableReplicas: 3 } },
    progressing: { metadata: { generation: 5 }, status: { observedGeneration: "4", phase: "Healthy" } },
    failed: {
      status: {
        observedGeneration: "1",
        phase: "Degraded",
        message: 'RolloutAborted: Rollout aborted update to revision 3: metric "success-rate" assessed Failed',
      },
    },
    because: /Degraded: RolloutAborted/,
  },
  "argoproj.io/v1alpha1 Application": {
    healthy: { status: { health: { status: "Healthy" }, sync: { status: "Synced" }, operationState: { phase: "Succeeded", message: "successfully synced" } } },
    progressing: { status: { health: { status: "Progressing" }, sync: { status: "OutOfSync" } } },
    failed: { status: { health: { status: "Missing" }, operationState: { phase: "Failed", message: "one or more objects failed to apply" } } },
    because: /one or more objects failed/,
  },
  "kustomize.toolkit.fluxcd.io/v1 Kustomization": {
    healthy: conditions(condition("Ready", "True", "ReconciliationSucceeded", "Applied revision: main@sha1:3f1c", 1)),
    progressing: conditions(
      condition("Reconciling", "True", "Progressing", "Running health checks"),
      condition("Ready", "Unknown", "Progressing", "Reconciliation in progress"),
    ),
    failed: conditions(condition("Ready", "False", "BuildFailed", "kustomize build failed: no such file")),
    because: /BuildFailed/,
  },
  "helm.toolkit.fluxcd.io/v2 HelmRelease": {
    healthy: conditions(condition("Ready", "True", "UpgradeSucceeded"), condition("Released", "True", "UpgradeSucceeded")),
    progressing: conditions(condition("Ready", "False", "DependencyNotReady", "dependency 'infra/redis' is not ready")),
    failed: conditions(
      condition("Stalled", "True", "RetriesExceeded", "Failed to upgrade after 3 attempt(s)"),
      condition("Ready", "False", "UpgradeFailed", "timed out"),
    ),
    because: /RetriesExceeded/,
  },
  "source.toolkit.fluxcd.io/v1 GitRepository": {
    healthy: conditions(condition("Ready", "True", "Succeeded", "stored artifact for revision"), condition("ArtifactInStorage", "True", "Succeeded")),
    progressing: conditions(condition("Reconciling", "True", "Progressing", "building artifact")),
    failed: conditions(condition("Ready", "False", "GitOperationFailed", "failed to checkout and determine revision: authentication required")),
    because: /authentication required/,
  },
  "serving.knative.dev/v1 Service": {
    healthy: conditions(condition("ConfigurationsReady", "True"), condition("Ready", "True"), condition("RoutesReady", "True")),
    progressing: conditions(condition("Ready", "Unknown", "RevisionMissing", "Configuration is waiting for a Revision to become ready")),
    failed: conditions(condition("Ready", "False", "RevisionFailed", "Container failed with: exit status 1")),
    because: /Container failed/,
  },
  "serving.knative.dev/v1 Revision": {
    healthy: conditions(condition("Ready", "True"), condition("Active", "False", "NoTraffic", "The target is not receiving traffic")),
    progressing: conditions(condition("Ready", "Unknown", "Deploying")),
    failed: conditions(condition("Ready", "False", "ContainerMissing", "Unable to fetch image")),
    because: /ContainerMissing/,
  },
  "s3.aws.upbound.io/v1beta1 Bucket": {
    healthy: {
      spec: { forProvider: { region: "eu-central-1" } },
      ...conditions(condition("Synced", "True", "ReconcileSuccess"), condition("Ready", "True", "Available")),
    },
    progressing: { spec: { forProvider: {} }, ...conditions(condition("Synced", "True", "ReconcileSuccess"), condition("Ready", "False", "Creating")) },
    failed: {
      spec: { forProvider: {} },
      ...conditions(condition("Synced", "False", "ReconcileError", "cannot create bucket: BucketAlreadyExists"), condition("Ready", "False", "Creating")),
    },
    because: /BucketAlreadyExists/,
  },
  "pkg.crossplane.io/v1 Provider": {
    healthy: conditions(condition("Installed", "True", "ActivePackageRevision"), condition("Healthy", "True", "HealthyPackageRevision")),
    progressing: conditions(condition("Installed", "True", "ActivePackageRevision"), condition("Healthy", "Unknown", "UnknownPackageRevisionHealth")),
    failed: conditions(condition("Synced", "False", "ReconcileError", "cannot unpack package")),
    because: /cannot unpack/,
  },
  "platform.acme.org/v1 PostgreSQLInstance": {
    healthy: conditions(condition("Synced", "True", "ReconcileSuccess"), condition("Ready", "True", "Available")),
    progressing: conditions(condition("Synced", "True", "ReconcileSuccess"), condition("Ready", "False", "Creating", "Unready resources: instance")),
    failed: conditions(condition("Synced", "False", "ReconcileError", "cannot compose resources"), condition("Ready", "False", "Creating")),
    because: /cannot compose/,
  },
  "gateway.networking.k8s.io/v1 Gateway": {
    healthy: conditions(condition("Accepted", "True", "Accepted", "", 1), condition("Programmed", "True", "Programmed", "", 1)),
    progressing: conditions(condition("Accepted", "True", "Accepted", "", 1), condition("Programmed", "False", "AddressNotAssigned", "no address yet", 1)),
    failed: conditions(condition("Accepted", "False", "InvalidParameters", "unknown parametersRef", 1), condition("Programmed", "False", "Invalid", "", 1)),
    because: /InvalidParameters/,
  },
  "gateway.networking.k8s.io/v1 GatewayClass": {
    healthy: conditions(condition("Accepted", "True", "Accepted", "", 1)),
    progressing: conditions(condition("Accepted", "Unknown", "Pending", "Waiting for controller", 1)),
    failed: conditions(condition("Accepted", "False", "UnsupportedVersion", "", 1)),
    because: /UnsupportedVersion/,
  },
  "gateway.networking.k8s.io/v1 HTTPRoute": {
    healthy: route(condition("Accepted", "True", "Accepted", "", 2), condition("ResolvedRefs", "True", "ResolvedRefs", "", 2)),
    progressing: route(condition("Accepted", "True", "Accepted", "", 1), condition("ResolvedRefs", "True", "ResolvedRefs", "", 1)),
    failed: route(condition("Accepted", "False", "NotAllowedByListeners", "no listener takes this namespace", 2), condition("ResolvedRefs", "True", "", "", 2)),
    because: /parent public: .*NotAllowedByListeners/,
  },
  "gateway.networking.k8s.io/v1 GRPCRoute": {
    healthy: route(condition("Accepted", "True", "Accepted", "", 2), condition("ResolvedRefs", "True", "ResolvedRefs", "", 2)),
    progressing: route(condition("Accepted", "True", "Accepted", "", 2), condition("ResolvedRefs", "False", "BackendNotFound", "service web not found", 2)),
    failed: route(condition("Accepted", "True", "Accepted", "", 2), condition("ResolvedRefs", "False", "RefNotPermitted", "no ReferenceGrant", 2)),
    because: /RefNotPermitted/,
  },
  "cluster.x-k8s.io/v1beta2 Cluster": {
    healthy: phase("Provisioned", { conditions: [condition("Available", "True", "Available")] }),
    progressing: phase("Provisioning", { conditions: [condition("Available", "False", "NotAvailable", "* InfrastructureReady: creating")] }),
    failed: phase("Failed", { failureReason: "CreateError", failureMessage: "quota of cores is used up" }),
    because: /quota of cores/,
  },
  "cluster.x-k8s.io/v1beta1 Machine": {
    healthy: phase("Running", { conditions: [condition("Ready", "True")] }),
    progressing: phase("Provisioning", { conditions: [condition("Ready", "False", "WaitingForInfrastructure")] }),
    failed: phase("Failed", { failureReason: "InvalidConfiguration", failureMessage: "no such image" }),
    because: /no such image/,
  },
  "cluster.x-k8s.io/v1beta1 MachineDeployment": {
    healthy: phase("Running", { replicas: 3, readyReplicas: 3, conditions: [condition("Ready", "True"), condition("Available", "True")] }),
    progressing: phase("ScalingUp", { replicas: 3, readyReplicas: 1, conditions: [condition("Available", "False", "WaitingForAvailableMachines")] }),
    failed: phase("Failed"),
    because: /phase is Failed/,
  },
  "external-secrets.io/v1 ExternalSecret": {
    healthy: { status: { refreshTime: at, conditions: [condition("Ready", "True", "SecretSynced", "secret synced")] } },
    progressing: {},
    failed: conditions(condition("Ready", "False", "SecretSyncedError", "could not get secret data from provider")),
    because: /^Ready=False \(SecretSyncedError\)$/,
  },
  "external-secrets.io/v1 SecretStore": {
    healthy: conditions(condition("Ready", "True", "Valid", "store validated")),
    progressing: conditions(condition("Ready", "Unknown", "ValidationUnknown")),
    failed: conditions(condition("Ready", "False", "InvalidProviderConfig", "unable to log in with token s.abc")),
    because: /^Ready=False \(InvalidProviderConfig\)$/,
  },
  "keda.sh/v1alpha1 ScaledObject": {
    healthy: conditions(
      condition("Ready", "True", "ScaledObjectReady"),
      condition("Active", "False", "ScalerNotActive"),
      condition("Fallback", "False"),
      condition("Paused", "Unknown"),
    ),
    progressing: {},
    failed: conditions(condition("Ready", "False", "ScaledObjectCheckFailed", "ScaledObject doesn't have correct scaleTargetRef specification")),
    because: /scaleTargetRef/,
  },
  "velero.io/v1 Backup": {
    healthy: phase("Completed", { completionTimestamp: at }),
    progressing: phase("InProgress", { startTimestamp: at, progress: { itemsBackedUp: 10, totalItems: 400 } }),
    failed: phase("PartiallyFailed", { errors: 3 }),
    because: /PartiallyFailed/,
  },
  "postgresql.cnpg.io/v1 Cluster": {
    healthy: phase("Cluster in healthy state", { instances: 3, readyInstances: 3, conditions: [condition("Ready", "True", "ClusterIsReady")] }),
    progressing: phase("Setting up primary", {
      phaseReason: "Creating primary instance main-1",
      conditions: [condition("Ready", "False", "ClusterIsNotReady")],
    }),
    failed: phase("Cluster is unrecoverable and needs manual intervention", {
      phaseReason: "no primary left",
      conditions: [condition("Ready", "False", "ClusterIsNotReady")],
    }),
    because: /unrecoverable.*no primary left/,
  },
  "elasticsearch.k8s.elastic.co/v1 Elasticsearch": {
    healthy: phase("Ready", { health: "green", availableNodes: 3 }),
    progressing: phase("ApplyingChanges", { health: "yellow", availableNodes: 2 }),
    failed: phase("Invalid", { health: "unknown" }),
    because: /phase is Invalid/,
  },
  "kibana.k8s.elastic.co/v1 Kibana": {
    healthy: { status: { health: "green", availableNodes: 1 } },
    progressing: { status: { health: "red", availableNodes: 0 } },
    failed: { metadata: { deletionTimestamp: at }, status: { health: "red" } },
    because: /being deleted/,
  },
  "rabbitmq.com/v1beta1 RabbitmqCluster": {
    healthy: conditions(
      condition("AllReplicasReady", "True", "AllPodsAreReady"),
      condition("ClusterAvailable", "True", "AtLeastOneEndpointAvailable"),
      condition("NoWarnings", "True"),
      condition("ReconcileSuccess", "True", "Success"),
    ),
    progressing: conditions(
      condition("AllReplicasReady", "False", "NotAllPodsReady", "0/3 Pods ready"),
      condition("ClusterAvailable", "False", "NoEndpointsAvailable"),
      condition("ReconcileSuccess", "True", "Success"),
    ),
    failed: conditions(
      condition("AllReplicasReady", "True"),
      condition("ReconcileSuccess", "False", "FailedReconcilePVC", "shrinking persistent volumes is not supported"),
    ),
    because: /shrinking/,
  },
  "networking.istio.io/v1 VirtualService": {
    healthy: {},
    progressing: conditions(condition("Reconciled", "False", "", "2/3 proxies up to date.")),
    failed: { status: { validationMessages: [{ type: { code: "IST0101", name: "ReferencedResourceNotFound" }, level: "ERROR", documentationUrl: "" }] } },
    because: /IST0101/,
  },
  "sailoperator.io/v1 Istio": {
    healthy: conditions(condition("Reconciled", "True"), condition("Ready", "True")),
    progressing: conditions(condition("Reconciled", "True"), condition("Ready", "False", "IstiodNotReady")),
    failed: conditions(condition("Reconciled", "False", "ReconcileError", "version v1.99.0 is not known")),
    because: /v1\.99\.0/,
  },
  "tekton.dev/v1 PipelineRun": {
    healthy: conditions(condition("Succeeded", "True", "Succeeded", "Tasks Completed: 3")),
    progressing: conditions(condition("Succeeded", "Unknown", "Running", "Tasks Completed: 1")),
    failed: conditions(condition("Succeeded", "False", "Failed", "Tasks Completed: 2 (Failed: 1)")),
    because: /Failed: 1/,
  },
  "operators.coreos.com/v1alpha1 ClusterServiceVersion": {
    healthy: phase("Succeeded", { message: "install strategy completed with no errors" }),
    progressing: phase("Installing", { message: "waiting for deployment" }),
    failed: phase("Failed", { message: "install timeout" }),
    because: /install timeout/,
  },
  "snapshot.storage.k8s.io/v1 VolumeSnapshot": {
    healthy: { status: { readyToUse: true, restoreSize: "1Gi" } },
    progressing: { status: { readyToUse: false } },
    failed: { status: { readyToUse: false, error: { message: "snapshot class not found", time: at } } },
    because: /snapshot class not found/,
  },
  "ceph.rook.io/v1 CephCluster": {
    healthy: phase("Ready", { ceph: { health: "HEALTH_OK" }, state: "Created" }),
    progressing: phase("Progressing", { message: "Configuring Ceph OSDs" }),
    failed: phase("Failure", { message: "failed to create cluster: mons have no quorum" }),
    because: /no quorum/,
  },
  "bitnami.com/v1alpha1 SealedSecret": {
    healthy: conditions(condition("Synced", "True")),
    progressing: {},
    failed: conditions(condition("Synced", "False", "", "no key could decrypt secret (password)")),
    because: /^Synced=False$/,
  },
  "projectcontour.io/v1 HTTPProxy": {
    healthy: { status: { currentStatus: "valid", description: "Valid HTTPProxy" } },
    progressing: {},
    failed: { status: { currentStatus: "invalid", description: "At least one error present" } },
    because: /At least one error/,
  },
};

function objectOf(name: string, shape: Shape): HealthInput {
  const [apiVersion, kind] = name.split(" ");
  return { apiVersion, kind, ...shape, metadata: { name: "main", namespace: "shop", generation: 1, ...shape.metadata } } as HealthInput;
}

/** The table of docs/health.md. */
function docsTable(): string {
  const escape = (text: string) => text.replaceAll("|", "\\|");
  const rows = listLibrary().map(
    ({ group, kinds, rule }) => `| \`${group}\` | ${kinds.map((kind) => (kind === "*" ? "all" : kind)).join(", ")} | ${escape(rule)} |`,
  );
  return ["", "| group | kinds | rule |", "| --- | --- | --- |", ...rows, ""].join("\n");
}

describe("the shipped health rules", () => {
  it("stand in docs/health.md as they are", () => {
    const file = new URL("../../../docs/health.md", import.meta.url);
    const text = readFileSync(file, "utf8");
    const [begin, end] = [text.indexOf("-->\n", text.indexOf("<!-- listLibrary()")) + 4, text.indexOf("<!-- /listLibrary -->")];
    if (process.env.UPDATE_DOCS === "1") writeFileSync(file, `${text.slice(0, begin)}${docsTable()}\n${text.slice(end)}`);
    const written = readFileSync(file, "utf8").slice(begin);
    const cells = (table: string) =>
      table
        .split("\n")
        .filter((line) => line.startsWith("| `"))
        .map((line) => line.replaceAll(/ +/g, " ").trim());
    expect(cells(written)).toEqual(cells(docsTable()));
  });

  for (const [name, { healthy, progressing, failed, because }] of Object.entries(recorded)) {
    it(`know a ${name} that is healthy, one on its way and one that failed`, () => {
      expect(assessHealth(objectOf(name, healthy))).toMatchObject({ health: "Current" });
      expect(assessHealth(objectOf(name, progressing))).toMatchObject({ health: "InProgress", message: expect.stringMatching(/./) });
      const verdict = assessHealth(objectOf(name, failed));
      expect(verdict.message).toMatch(because);
      expect(verdict.health).toBe(name.includes("Kibana") ? "Terminating" : "Failed");
    });
  }

  it("hold for forty kinds and more, each with its own objects here or with those of its like", () => {
    const kinds = listLibrary().flatMap(({ group, kinds: names }) => names.map((kind) => `${group}/${kind}`));
    expect(new Set(kinds).size).toBe(kinds.length);
    expect(kinds.length).toBeGreaterThan(90);
    expect(Object.keys(recorded).length).toBeGreaterThan(40);
    for (const row of listLibrary()) expect(row.rule).not.toBe("");
  });

  it("call what somebody paused healthy and say so, and wait without end for what waits for a person", () => {
    const suspended = objectOf("kustomize.toolkit.fluxcd.io/v1 Kustomization", {
      spec: { suspend: true },
      ...conditions(condition("Ready", "False", "BuildFailed")),
    });
    expect(assessHealth(suspended)).toEqual({ health: "Current", message: "suspended" });
    const paused = objectOf("argoproj.io/v1alpha1 Rollout", { status: { phase: "Paused", message: "CanaryPauseStep" } });
    expect(assessHealth(paused)).toEqual({ health: "InProgress", message: "phase is Paused: CanaryPauseStep", isPatient: true });
  });

  it("hold for the groups that end like theirs, and for no others", () => {
    expect(libraryRule("rds.aws.upbound.io", "Instance")).toBeDefined();
    expect(libraryRule("nop.crossplane.io", "NopResource")).toBeDefined();
    expect(libraryRule("image.toolkit.fluxcd.io", "ImagePolicy")).toBeDefined();
    expect(libraryRule("example.io", "Certificate")).toBeUndefined();
    expect(libraryRule("notcert-manager.io", "Certificate")).toBeUndefined();
    expect(libraryRule("apps", "Deployment")).toBeUndefined();
  });

  it("know Crossplane's kinds that tell nothing", () => {
    expect(assessHealth(objectOf("apiextensions.crossplane.io/v1 Composition", {}))).toMatchObject({ health: "Current" });
    expect(assessHealth(objectOf("aws.upbound.io/v1beta1 ProviderConfig", { status: { users: 2 } }))).toMatchObject({ health: "Current" });
    expect(assessHealth(objectOf("s3.aws.upbound.io/v1beta1 Bucket", { spec: { forProvider: {} } }))).toMatchObject({ health: "InProgress" });
  });

  it("do not choke on a status of any shape", () => {
    for (const status of [
      { conditions: "x", phase: 3 },
      { conditions: [null, { type: 5 }], parents: [{}] },
      { parents: [{ conditions: [1] }] },
      { validationMessages: [{}] },
    ]) {
      for (const name of Object.keys(recorded)) expect(() => assessHealth(objectOf(name, { status }))).not.toThrow();
    }
  });
});
