import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { libraryRule, listLibrary } from "./health-library.ts";
import { assessHealth } from "./health.ts";
import type { HealthInput } from "./verdict.ts";

/** Objects in the shapes that the projects' documentation and their controllers show. */
interface Recorded {
  readonly healthy: Shape;
  readonly progressing: Shape;
  /** Left out where the kind has no word for a failure. */
  readonly failed?: Shape;
  /** Words that the failure must be told with. */
  readonly because?: RegExp;
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
  "acme.cert-manager.io/v1 Challenge": {
    healthy: { status: { state: "valid", presented: false, processing: false, reason: "Successfully authorized domain" } },
    progressing: {
      status: { state: "pending", presented: true, processing: true, reason: "Waiting for HTTP-01 challenge propagation: wrong status code '404'" },
    },
    failed: {
      status: {
        state: "invalid",
        presented: false,
        processing: false,
        reason: "Error accepting authorization: acme: authorization error for shop.example: 403",
      },
    },
    because: /state is invalid: .*authorization error/,
  },
  "monitoring.coreos.com/v1alpha1 PrometheusAgent": {
    healthy: conditions(condition("Available", "True", "", "", 1), condition("Reconciled", "True", "", "", 1)),
    progressing: conditions(condition("Available", "False", "NoPodReady", "shard 0: pod prom-agent-0: containers with incomplete status", 1)),
    failed: conditions(condition("Available", "True", "", "", 1), condition("Reconciled", "False", "ReconciliationFailed", "making statefulset failed", 1)),
    because: /making statefulset failed/,
  },
  "kafka.strimzi.io/v1 KafkaConnector": {
    healthy: {
      status: {
        observedGeneration: 1,
        conditions: [condition("Ready", "True")],
        connectorStatus: { name: "main", connector: { state: "RUNNING", worker_id: "10.0.0.7:8083" }, tasks: [{ id: 0, state: "RUNNING" }] },
        tasksMax: 1,
      },
    },
    progressing: { status: { observedGeneration: 0, conditions: [condition("Ready", "True")] } },
    failed: {
      status: {
        observedGeneration: 1,
        conditions: [condition("NotReady", "True", "ConnectRestException", "GET /connectors/main/config returned 500 (Internal Server Error)")],
      },
    },
    because: /ConnectRestException/,
  },
  "kafka.strimzi.io/v1 KafkaBridge": {
    healthy: { status: { observedGeneration: 1, url: "http://main-bridge-service.shop.svc:8080", replicas: 1, conditions: [condition("Ready", "True")] } },
    progressing: { status: { observedGeneration: 1, conditions: [condition("NotReady", "True", "Creating", "Kafka Bridge is being deployed")] } },
    failed: { status: { observedGeneration: 1, conditions: [condition("NotReady", "True", "FatalProblem", "Deployment main-bridge is not ready")] } },
    because: /FatalProblem/,
  },
  "kafka.strimzi.io/v1 KafkaMirrorMaker2": {
    healthy: { status: { observedGeneration: 1, replicas: 1, connectors: [{ name: "a->b.MirrorSourceConnector" }], conditions: [condition("Ready", "True")] } },
    progressing: {},
    failed: {
      status: { observedGeneration: 1, conditions: [condition("NotReady", "True", "InvalidResourceException", "targetCluster with alias b cannot be found")] },
    },
    because: /alias b cannot be found/,
  },
  "kafka.strimzi.io/v1 KafkaUser": {
    healthy: { status: { observedGeneration: 1, username: "CN=main", secret: "main", conditions: [condition("Ready", "True")] } },
    progressing: {},
    failed: {
      status: {
        observedGeneration: 1,
        conditions: [condition("NotReady", "True", "InvalidResourceException", "Users with TLS client authentication can have only one")],
      },
    },
    because: /InvalidResourceException/,
  },
  "access.strimzi.io/v1alpha1 KafkaAccess": {
    healthy: { status: { observedGeneration: 1, binding: { name: "main" }, conditions: [condition("Ready", "True")] } },
    progressing: {},
    failed: { status: { observedGeneration: 1, conditions: [condition("Ready", "False", "NotFound", "Kafka resource shop/gone not found")] } },
    because: /gone not found/,
  },
  "kafka.strimzi.io/v1 KafkaRebalance": {
    healthy: { status: { observedGeneration: 1, sessionId: "s", conditions: [condition("Ready", "True")] } },
    progressing: { status: { observedGeneration: 1, conditions: [condition("ProposalReady", "True")], optimizationResult: { numReplicaMovements: 12 } } },
    failed: {
      status: {
        observedGeneration: 1,
        conditions: [condition("NotReady", "True", "CruiseControlRestException", "Error processing POST request '/rebalance'")],
      },
    },
    because: /CruiseControlRestException/,
  },
  "argoproj.io/v1alpha1 ApplicationSet": {
    healthy: conditions(
      condition("ErrorOccurred", "False", "ApplicationSetUpToDate", "All applications have been generated successfully"),
      condition("ParametersGenerated", "True", "ParametersGenerated"),
      condition("ResourcesUpToDate", "True", "ApplicationSetUpToDate"),
    ),
    progressing: conditions(condition("ParametersGenerated", "True", "ParametersGenerated"), condition("ResourcesUpToDate", "False", "ApplicationSetModified")),
    failed: conditions(
      condition("ErrorOccurred", "True", "ApplicationParamsGenerationError", "failed to get params for git generator: repository not found"),
      condition("ResourcesUpToDate", "False", "ApplicationParamsGenerationError"),
    ),
    because: /repository not found/,
  },
  "argoproj.io/v1alpha1 Workflow": {
    healthy: phase("Succeeded", { progress: "3/3", startedAt: at, finishedAt: at }),
    progressing: phase("Running", { progress: "1/3", startedAt: at }),
    failed: phase("Failed", { message: "child 'build-1' failed" }),
    because: /phase is Failed: child 'build-1' failed/,
  },
  "argoproj.io/v1alpha1 AnalysisRun": {
    healthy: phase("Successful", { metricResults: [{ name: "success-rate", phase: "Successful", count: 3, successful: 3 }] }),
    progressing: phase("Running", { metricResults: [{ name: "success-rate", phase: "Running", count: 1 }] }),
    failed: phase("Error", { message: 'Metric "success-rate" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4)' }),
    because: /phase is Error: .*consecutiveErrors/,
  },
  "argoproj.io/v1alpha1 Experiment": {
    healthy: phase("Successful", { templateStatuses: [{ name: "canary", status: "Successful" }] }),
    progressing: phase("Running", { availableAt: at, templateStatuses: [{ name: "canary", status: "Running" }] }),
    failed: phase("Failed", { message: 'ReplicaSet "canary" has timed out progressing' }),
    because: /timed out progressing/,
  },
  "source.toolkit.fluxcd.io/v1 HelmRepository": {
    healthy: conditions(
      condition("Ready", "True", "Succeeded", "stored artifact: revision 'sha256:3f1c'", 1),
      condition("ArtifactInStorage", "True", "Succeeded"),
    ),
    progressing: conditions(condition("Reconciling", "True", "Progressing", "fetching index"), condition("Ready", "Unknown", "Progressing")),
    failed: conditions(condition("Ready", "False", "IndexationFailed", "failed to fetch Helm repository index: 404 Not Found")),
    because: /IndexationFailed/,
  },
  "source.toolkit.fluxcd.io/v1 HelmChart": {
    healthy: conditions(condition("Ready", "True", "ChartPullSucceeded", "pulled 'redis' chart with version '19.0.1'", 1)),
    progressing: conditions(condition("Ready", "False", "NoSourceArtifact", "no artifact available for HelmRepository source 'charts'")),
    failed: conditions(
      condition("Stalled", "True", "InvalidChartReference", "no chart version found for redis-99.x"),
      condition("Ready", "False", "InvalidChartReference"),
    ),
    because: /InvalidChartReference/,
  },
  "source.toolkit.fluxcd.io/v1 OCIRepository": {
    healthy: conditions(condition("Ready", "True", "Succeeded", "stored artifact for digest '6.5.0@sha256:3f1c'", 1)),
    progressing: conditions(condition("Reconciling", "True", "Progressing", "new revision '6.5.1@sha256:9a2b' for 'oci://registry.example/app'")),
    failed: conditions(
      condition("Ready", "False", "OCIArtifactPullFailed", "failed to determine artifact digest: GET https://registry.example/v2/: UNAUTHORIZED"),
    ),
    because: /UNAUTHORIZED/,
  },
  "source.toolkit.fluxcd.io/v1 Bucket": {
    healthy: conditions(condition("Ready", "True", "Succeeded", "stored artifact with 12 fetched files from 'manifests' bucket", 1)),
    progressing: conditions(condition("Reconciling", "True", "Progressing", "new upstream revision")),
    failed: conditions(condition("Ready", "False", "BucketOperationFailed", "bucket 'manifests' not found")),
    because: /bucket 'manifests' not found/,
  },
  "source.toolkit.fluxcd.io/v1 ExternalArtifact": {
    healthy: conditions(condition("Ready", "True", "Succeeded", "stored artifact", 1)),
    progressing: conditions(condition("Ready", "Unknown", "Progressing", "artifact is being made")),
    failed: conditions(condition("Ready", "False", "BuildFailed", "cannot copy from source")),
    because: /cannot copy/,
  },
  "image.toolkit.fluxcd.io/v1 ImageRepository": {
    healthy: {
      status: {
        canonicalImageName: "registry.example/app",
        lastScanResult: { tagCount: 40, scanTime: at },
        conditions: [condition("Ready", "True", "Succeeded", "successful scan: found 40 tags", 1)],
      },
    },
    progressing: conditions(condition("Reconciling", "True", "Progressing", "scanning: first scan")),
    failed: conditions(condition("Ready", "False", "ReadOperationFailed", "scan failed: UNAUTHORIZED: authentication required")),
    because: /ReadOperationFailed/,
  },
  "image.toolkit.fluxcd.io/v1 ImagePolicy": {
    healthy: {
      status: {
        latestRef: { name: "registry.example/app", tag: "1.4.2" },
        conditions: [condition("Ready", "True", "Succeeded", "Latest image tag resolved to 1.4.2", 1)],
      },
    },
    progressing: conditions(condition("Ready", "False", "DependencyNotReady", "referenced ImageRepository has not been scanned yet")),
    failed: conditions(
      condition("Stalled", "True", "InvalidPolicy", "cannot make a policy of an empty semver range"),
      condition("Ready", "False", "InvalidPolicy"),
    ),
    because: /InvalidPolicy/,
  },
  "image.toolkit.fluxcd.io/v1 ImageUpdateAutomation": {
    healthy: conditions(condition("Ready", "True", "Succeeded", "repository up-to-date", 1)),
    progressing: conditions(condition("Reconciling", "True", "Progressing", "checking out source")),
    failed: conditions(condition("Ready", "False", "GitOperationFailed", "failed to push to remote: authorization failed")),
    because: /failed to push/,
  },
  "notification.toolkit.fluxcd.io/v1 Receiver": {
    healthy: { status: { webhookPath: "/hook/3f1c", conditions: [condition("Ready", "True", "Succeeded", "Receiver initialized for path: /hook/3f1c", 1)] } },
    progressing: conditions(
      condition("Reconciling", "True", "ProgressingWithRetry", 'reading token: Secret "hook" not found'),
      condition("Ready", "False", "TokenNotFound"),
    ),
    failed: conditions(condition("Stalled", "True", "InvalidCELExpression", "failed to parse expression"), condition("Ready", "False", "InvalidCELExpression")),
    because: /failed to parse expression/,
  },
  "source.extensions.toolkit.fluxcd.io/v1beta1 ArtifactGenerator": {
    healthy: conditions(condition("Ready", "True", "Succeeded", "reconciliation succeeded, generated 2 artifact(s)", 1)),
    progressing: conditions(condition("Reconciling", "True", "Progressing", "Reconciliation in progress"), condition("Ready", "Unknown", "Progressing")),
    failed: conditions(condition("Ready", "False", "BuildFailed", "failed to copy @apps/web/**: no such directory")),
    because: /BuildFailed/,
  },
  "serving.knative.dev/v1 Configuration": {
    healthy: { status: { latestReadyRevisionName: "main-00002", ...conditions(condition("Ready", "True")).status } },
    progressing: conditions(condition("Ready", "Unknown", "", "")),
    failed: conditions(condition("Ready", "False", "RevisionFailed", 'Revision "main-00002" failed with message: Unable to fetch image')),
    because: /Unable to fetch image/,
  },
  "serving.knative.dev/v1 Route": {
    healthy: conditions(condition("AllTrafficAssigned", "True"), condition("IngressReady", "True"), condition("Ready", "True")),
    progressing: conditions(condition("IngressReady", "Unknown", "IngressNotConfigured"), condition("Ready", "Unknown", "IngressNotConfigured")),
    failed: conditions(
      condition("AllTrafficAssigned", "False", "RevisionMissing"),
      condition("Ready", "False", "RevisionMissing", 'Revision "gone" referenced in traffic not found'),
    ),
    because: /referenced in traffic not found/,
  },
  "eventing.knative.dev/v1 Broker": {
    healthy: conditions(condition("Addressable", "True"), condition("FilterReady", "True"), condition("IngressReady", "True"), condition("Ready", "True")),
    progressing: conditions(condition("IngressReady", "Unknown"), condition("Ready", "Unknown", "IngressNotReady")),
    failed: conditions(condition("Ready", "False", "ChannelTemplateFailed", "Error on setting up the channel")),
    because: /ChannelTemplateFailed/,
  },
  "eventing.knative.dev/v1 Trigger": {
    healthy: conditions(condition("BrokerReady", "True"), condition("SubscriberResolved", "True"), condition("Ready", "True")),
    progressing: conditions(condition("BrokerReady", "Unknown"), condition("Ready", "Unknown", "BrokerNotConfigured")),
    failed: conditions(condition("Ready", "False", "BrokerDoesNotExist", 'Broker "default" does not exist')),
    because: /does not exist/,
  },
  ...Object.fromEntries(
    ["v1 ApiServerSource", "v1 PingSource", "v1 SinkBinding", "v1 ContainerSource"].map((kind) => [
      `sources.knative.dev/${kind}`,
      {
        healthy: conditions(condition("SinkProvided", "True"), condition("Ready", "True")),
        progressing: conditions(condition("SinkProvided", "True"), condition("Ready", "Unknown", "DeploymentUnavailable")),
        failed: conditions(condition("SinkProvided", "False", "NotFound"), condition("Ready", "False", "NotFound", 'services "sink" not found')),
        because: /"sink" not found/,
      },
    ]),
  ),
  ...Object.fromEntries(
    ["Channel", "InMemoryChannel"].map((kind) => [
      `messaging.knative.dev/v1 ${kind}`,
      {
        healthy: {
          status: { address: { url: "http://main-kn-channel.shop.svc" }, ...conditions(condition("Addressable", "True"), condition("Ready", "True")).status },
        },
        progressing: conditions(condition("Ready", "Unknown", "DispatcherNotReady")),
        failed: conditions(condition("Ready", "False", "DispatcherDeploymentDoesNotExist", "Dispatcher Deployment does not exist")),
        because: /Dispatcher Deployment does not exist/,
      },
    ]),
  ),
  "messaging.knative.dev/v1 Subscription": {
    healthy: conditions(condition("AddedToChannel", "True"), condition("ReferencesResolved", "True"), condition("Ready", "True")),
    progressing: conditions(condition("AddedToChannel", "Unknown"), condition("Ready", "Unknown", "SubscriptionNotMarkedReadyByChannel")),
    failed: conditions(condition("Ready", "False", "SubscriberResolveFailed", "Failed to resolve spec.subscriber: address not set")),
    because: /address not set/,
  },
  ...Object.fromEntries(
    ["KnativeServing", "KnativeEventing"].map((kind) => [
      `operator.knative.dev/v1beta1 ${kind}`,
      {
        healthy: {
          status: {
            version: "1.19.0",
            ...conditions(condition("InstallSucceeded", "True"), condition("DeploymentsAvailable", "True"), condition("Ready", "True")).status,
          },
        },
        progressing: conditions(condition("DeploymentsAvailable", "Unknown"), condition("Ready", "Unknown", "NotReady", "Waiting on deployments: webhook")),
        failed: conditions(
          condition("InstallSucceeded", "False", "Error"),
          condition("Ready", "False", "Error", "Install failed with message: version 9.9.9 not available"),
        ),
        because: /version 9\.9\.9/,
      },
    ]),
  ),
  ...Object.fromEntries(
    ["v1alpha3 TLSRoute", "v1alpha2 TCPRoute", "v1alpha2 UDPRoute"].map((kind) => [
      `gateway.networking.k8s.io/${kind}`,
      {
        healthy: route(condition("Accepted", "True", "Accepted", "", 2), condition("ResolvedRefs", "True", "ResolvedRefs", "", 2)),
        progressing: route(condition("Accepted", "False", "Pending", "", 2)),
        failed: route(condition("Accepted", "True", "Accepted", "", 2), condition("ResolvedRefs", "False", "InvalidKind", "backend is no Service", 2)),
        because: /InvalidKind/,
      },
    ]),
  ),
  "cluster.x-k8s.io/v1beta1 MachinePool": {
    healthy: phase("Running", { replicas: 3, readyReplicas: 3, conditions: [condition("Ready", "True")] }),
    progressing: phase("ScalingUp", { replicas: 3, readyReplicas: 2, conditions: [condition("Ready", "False", "WaitingForReplicasReady")] }),
    failed: phase("Failed", { failureReason: "UpdateError", failureMessage: "scale set was deleted in the cloud" }),
    because: /scale set was deleted/,
  },
  "controlplane.cluster.x-k8s.io/v1beta1 KubeadmControlPlane": {
    healthy: {
      status: {
        initialized: true,
        replicas: 3,
        readyReplicas: 3,
        conditions: [condition("Ready", "True"), condition("Available", "True"), condition("MachinesReady", "True")],
      },
    },
    progressing: { status: { initialized: true, conditions: [condition("Ready", "False", "RollingUpdateInProgress"), condition("Available", "True")] } },
    failed: {
      status: { failureReason: "InvalidConfiguration", failureMessage: "cannot downgrade from 1.36 to 1.34", conditions: [condition("Available", "False")] },
    },
    because: /cannot downgrade/,
  },
  "external-secrets.io/v1 ClusterExternalSecret": {
    healthy: { status: { provisionedNamespaces: ["shop"], conditions: [condition("Ready", "True")] } },
    progressing: {},
    failed: conditions(condition("Ready", "False", "", "one or more namespaces failed")),
    because: /^Ready=False$/,
  },
  "external-secrets.io/v1alpha1 PushSecret": {
    healthy: { status: { refreshTime: at, conditions: [condition("Ready", "True", "Synced", "PushSecret synced successfully")] } },
    progressing: {},
    failed: conditions(condition("Ready", "False", "Errored", "set secret failed: value hunter2 is too short")),
    because: /^Ready=False \(Errored\)$/,
  },
  "external-secrets.io/v1 ClusterSecretStore": {
    healthy: conditions(condition("Ready", "True", "Valid", "store validated")),
    progressing: {},
    failed: conditions(condition("Ready", "False", "InvalidProviderConfig", "invalid token s.abc")),
    because: /^Ready=False \(InvalidProviderConfig\)$/,
  },
  "keda.sh/v1alpha1 ScaledJob": {
    healthy: conditions(
      condition("Ready", "True", "ScaledJobReady", "ScaledJob is defined correctly and is ready to scaling"),
      condition("Active", "False", "ScalerNotActive"),
    ),
    progressing: {},
    failed: conditions(condition("Ready", "False", "ScaledJobCheckFailed", "Failed to ensure ScaledJob is correctly created")),
    because: /ScaledJobCheckFailed/,
  },
  "velero.io/v1 Restore": {
    healthy: phase("Completed", { startTimestamp: at, completionTimestamp: at }),
    progressing: phase("InProgress", { startTimestamp: at, progress: { itemsRestored: 4, totalItems: 90 } }),
    failed: phase("Failed", { failureReason: "error downloading backup: not found" }),
    because: /error downloading backup/,
  },
  "velero.io/v1 Schedule": {
    healthy: phase("Enabled", { lastBackup: at }),
    progressing: phase("New"),
    failed: phase("FailedValidation", { validationErrors: ["invalid schedule: expected exactly 5 fields"] }),
    because: /phase is FailedValidation/,
  },
  "velero.io/v1 BackupStorageLocation": {
    healthy: phase("Available", { lastSyncedTime: at, lastValidationTime: at }),
    progressing: {},
    failed: phase("Unavailable", { message: 'BackupStorageLocation "default" is unavailable: NoSuchBucket' }),
    because: /NoSuchBucket/,
  },
  "postgresql.cnpg.io/v1 Backup": {
    healthy: phase("completed", { backupId: "20261125T020000", startedAt: at, stoppedAt: at }),
    progressing: phase("running", { startedAt: at }),
    failed: phase("failed", { error: "can't execute backup: no free space" }),
    because: /no free space/,
  },
  "apm.k8s.elastic.co/v1 ApmServer": {
    healthy: { status: { health: "green", availableNodes: 1 } },
    progressing: { status: { health: "red", availableNodes: 0 } },
  },
  "beat.k8s.elastic.co/v1beta1 Beat": {
    healthy: { status: { health: "green", availableNodes: 3, expectedNodes: 3 } },
    progressing: { status: { health: "yellow", availableNodes: 2, expectedNodes: 3 } },
  },
  "agent.k8s.elastic.co/v1alpha1 Agent": {
    healthy: { status: { health: "green", availableNodes: 3, expectedNodes: 3 } },
    progressing: { status: { health: "red", availableNodes: 0, expectedNodes: 3 } },
  },
  ...Object.fromEntries(
    ["Queue", "Exchange", "Binding", "User", "Vhost", "Policy", "Permission"].map((kind) => [
      `rabbitmq.com/v1beta1 ${kind}`,
      {
        healthy: { status: { observedGeneration: 1, conditions: [condition("Ready", "True", "SuccessfulCreateOrUpdate")] } },
        progressing: {},
        failed: {
          status: {
            observedGeneration: 1,
            conditions: [condition("Ready", "False", "FailedCreateOrUpdate", "Error: API responded with a 400: inequivalent arg 'durable'")],
          },
        },
        because: /FailedCreateOrUpdate/,
      },
    ]),
  ),
  ...Object.fromEntries(
    ["IstioRevision", "IstioCNI", "ZTunnel"].map((kind) => [
      `sailoperator.io/v1 ${kind}`,
      {
        healthy: { status: { observedGeneration: 1, state: "Healthy", conditions: [condition("Reconciled", "True"), condition("Ready", "True")] } },
        progressing: {
          status: {
            observedGeneration: 1,
            state: "NotReady",
            conditions: [condition("Reconciled", "True"), condition("Ready", "False", "NotReady", "not all pods are ready")],
          },
        },
        failed: {
          status: {
            observedGeneration: 1,
            state: "ReconcileError",
            conditions: [condition("Reconciled", "False", "ReconcileError", "failed to install Helm chart: timed out")],
          },
        },
        because: /failed to install Helm chart/,
      },
    ]),
  ),
  "install.istio.io/v1alpha1 IstioOperator": {
    healthy: { status: { status: "HEALTHY", componentStatus: { Pilot: { status: "HEALTHY" } } } },
    progressing: { status: { status: "RECONCILING", componentStatus: { Pilot: { status: "RECONCILING" } } } },
    failed: { status: { status: "ERROR", message: "Ingress gateways: deployment is not ready", componentStatus: { IngressGateways: { status: "ERROR" } } } },
    because: /Ingress gateways/,
  },
  "tekton.dev/v1 TaskRun": {
    healthy: conditions(condition("Succeeded", "True", "Succeeded", "All Steps have completed executing")),
    progressing: conditions(condition("Succeeded", "Unknown", "Pending", "Pending")),
    failed: conditions(condition("Succeeded", "False", "TaskRunTimeout", 'TaskRun "main" failed to finish within "1h0m0s"')),
    because: /TaskRunTimeout/,
  },
  "operators.coreos.com/v1alpha1 Subscription": {
    healthy: {
      status: { state: "AtLatestKnown", installedCSV: "app.v1.2.0", conditions: [condition("CatalogSourcesUnhealthy", "False", "AllCatalogSourcesHealthy")] },
    },
    progressing: { status: { state: "UpgradePending", currentCSV: "app.v1.3.0" } },
    failed: {
      status: { state: "", conditions: [condition("ResolutionFailed", "True", "ConstraintsNotSatisfiable", "no operators found in channel stable-9")] },
    },
    because: /no operators found/,
  },
  ...Object.fromEntries(
    ["CephBlockPool", "CephFilesystem", "CephObjectStore"].map((kind) => [
      `ceph.rook.io/v1 ${kind}`,
      {
        healthy: phase(kind === "CephObjectStore" ? "Connected" : "Ready", { observedGeneration: 1 }),
        progressing: phase("Progressing", { observedGeneration: 1 }),
        failed: phase("Failure", { message: "failed to create pool: erasure coded pools need 3 hosts" }),
        because: /erasure coded/,
      },
    ]),
  ),
  "acid.zalan.do/v1 postgresql": {
    healthy: { status: { PostgresClusterStatus: "Running" } },
    progressing: { status: { PostgresClusterStatus: "Creating" } },
    failed: { status: { PostgresClusterStatus: "SyncFailed" } },
    because: /PostgresClusterStatus is SyncFailed/,
  },
  "mongodbcommunity.mongodb.com/v1 MongoDBCommunity": {
    healthy: phase("Running", { mongoUri: "mongodb://main-0.main-svc.shop.svc:27017", currentStatefulSetReplicas: 3 }),
    progressing: phase("Pending", { message: "Agent not ready, waiting for 1 pod" }),
    failed: phase("Failed", { message: "Error in the security configuration: no certificate" }),
    because: /no certificate/,
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
      if (!failed) return;
      const verdict = assessHealth(objectOf(name, failed));
      expect(verdict.message).toMatch(because ?? /./);
      expect(verdict.health).toBe(name.includes("Kibana") ? "Terminating" : "Failed");
    });
  }

  it("hold for ninety kinds and more, each with objects of its own here", () => {
    const kinds = listLibrary().flatMap(({ group, kinds: names }) => names.map((kind) => `${group}/${kind}`));
    expect(new Set(kinds).size).toBe(kinds.length);
    expect(kinds.length).toBeGreaterThan(90);
    // A rule for all kinds of a group, or for all groups that end alike, has objects of at least one of them.
    const own = Object.keys(recorded).map((name) => ({ group: name.slice(0, name.lastIndexOf("/")), kind: name.split(" ")[1] }));
    const isShown = (group: string, kind: string) =>
      own.some((one) => (group.startsWith("*") ? one.group.endsWith(group.slice(1)) : one.group === group) && (kind === "*" || one.kind === kind));
    expect(kinds.filter((name) => !isShown(name.slice(0, name.lastIndexOf("/")), name.slice(name.lastIndexOf("/") + 1)))).toEqual([]);
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
