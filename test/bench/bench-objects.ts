/** An object and the path it is applied at. */
export interface BenchObject {
  readonly path: string;
  readonly object: { readonly apiVersion: string; readonly kind: string; readonly metadata: { readonly name: string; readonly namespace?: string } };
}

/** A namespace, and so many of each: ServiceAccount, 2 KB ConfigMap, Service, Deployment; four objects an app, one after the other. */
export function benchObjects(namespace: string, version: string, count: number): BenchObject[] {
  const objects: BenchObject[] = [{ path: `/api/v1/namespaces/${namespace}`, object: { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } } }];
  for (let i = 0; i < count; i++) {
    const name = `app-${i}`;
    const metadata = { name, namespace, annotations: { "bench.example/version": version } };
    const put = (collection: string, object: BenchObject["object"]) => objects.push({ path: `${collection}/${name}`, object });
    put(`/api/v1/namespaces/${namespace}/serviceaccounts`, { apiVersion: "v1", kind: "ServiceAccount", metadata });
    put(`/api/v1/namespaces/${namespace}/configmaps`, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata,
      ...{ data: { text: `${version}${"x".repeat(2_000)}` } },
    });
    put(`/api/v1/namespaces/${namespace}/services`, {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      ...{ spec: { selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: 8080 }] } },
    });
    const container = {
      name: "main",
      image: `example/app:${version}`,
      ports: [{ containerPort: 8080 }],
      resources: { requests: { cpu: "10m", memory: "16Mi" } },
    };
    const spec = {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { serviceAccountName: name, containers: [container] } },
    };
    put(`/apis/apps/v1/namespaces/${namespace}/deployments`, { apiVersion: "apps/v1", kind: "Deployment", metadata, ...{ spec } });
  }
  return objects;
}
