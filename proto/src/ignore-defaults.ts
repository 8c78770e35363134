/**
 * What drift does not look at unless a bundle says so (`drift.defaults.off` in fleet.yaml): fields that other controllers are known to write.
 * Defaulted fields, quantities, node ports, injected sidecars of pods and the like need no rule: what was not applied is not compared.
 */
export interface IgnoreDefault {
  /** As fleet.yaml turns it off. */
  readonly name: string;
  /** For people. */
  readonly about: string;
  readonly rules: readonly DefaultRule[];
}

export interface DefaultRule {
  readonly group?: string;
  readonly kind?: string;
  /** JSON pointers; a step of "*" matches any one step. */
  readonly paths?: readonly string[];
  /** Field queries (proto/src/field-query.ts). */
  readonly queries?: readonly string[];
  /** Only while one of these field managers holds the field. */
  readonly managers?: readonly string[];
  /** A fact about the object that has to hold: see the agent's ignore-defaults. */
  readonly when?: "an autoscaler of the target scales it" | "its rules are aggregated";
}

const autoscalers = ["kube-controller-manager", "horizontal-pod-autoscaler", "keda", "keda-operator"];

/** In the order in which they are listed. */
export const ignoreDefaults: readonly IgnoreDefault[] = [
  {
    name: "hpa-replicas",
    about: "replicas of what a HorizontalPodAutoscaler or a KEDA ScaledObject of the same target scales, and replicas that an autoscaler holds",
    rules: [
      { paths: ["/spec/replicas"], when: "an autoscaler of the target scales it" },
      { group: "apps", paths: ["/spec/replicas"], managers: autoscalers },
      { group: "argoproj.io", kind: "Rollout", paths: ["/spec/replicas"], managers: autoscalers },
    ],
  },
  {
    name: "injected-ca-bundles",
    about: "caBundle of webhooks, APIServices and conversion webhooks, which cert-manager and others inject",
    rules: [
      { group: "admissionregistration.k8s.io", paths: ["/webhooks/*/clientConfig/caBundle"] },
      { group: "apiregistration.k8s.io", kind: "APIService", paths: ["/spec/caBundle"] },
      { group: "apiextensions.k8s.io", kind: "CustomResourceDefinition", paths: ["/spec/conversion/webhook/clientConfig/caBundle"] },
    ],
  },
  {
    name: "mesh-sidecars",
    about: "containers and annotations that Istio and Linkerd inject into pod templates",
    rules: ["apps", "batch"].map((group) => ({
      group,
      paths: ["/spec/template/metadata/annotations/sidecar.istio.io~1status", "/spec/template/metadata/annotations/linkerd.io~1proxy-version"],
      queries: [
        '.spec.template.spec.containers[] | select(.name == "istio-proxy" or .name == "linkerd-proxy")',
        '.spec.template.spec.initContainers[] | select(.name == "istio-init" or .name == "linkerd-init" or .name == "istio-proxy" or .name == "linkerd-proxy")',
      ],
    })),
  },
  {
    name: "aggregated-rules",
    about: "rules of a ClusterRole that has an aggregationRule: a controller fills them in",
    rules: [{ group: "rbac.authorization.k8s.io", kind: "ClusterRole", paths: ["/rules"], when: "its rules are aggregated" }],
  },
  {
    name: "exported-fields",
    about: "what an export (kubectl get -o yaml) leaves in a manifest and a controller writes: status, revision and last-applied annotations",
    rules: [
      {
        paths: [
          "/status",
          "/metadata/annotations/deployment.kubernetes.io~1revision",
          "/metadata/annotations/deprecated.daemonset.template.generation",
          "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
          "/metadata/annotations/pv.kubernetes.io~1bind-completed",
          "/metadata/annotations/pv.kubernetes.io~1bound-by-controller",
        ],
      },
    ],
  },
];

export const ignoreDefaultNames: readonly string[] = ignoreDefaults.map(({ name }) => name);
