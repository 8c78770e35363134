import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type FakeForgeKind = "github" | "gitlab" | "gitea";

export interface FakePullRequest {
  head: string;
  base: string;
  isOpen: boolean;
  isFork: boolean;
}

/** Of one repository, whatever it is called. */
export interface FakeForge {
  readonly url: string;
  /** What is to be given to `--api-url`. */
  readonly apiUrl: string;
  readonly token: string;
  readonly pullRequests: Map<number, FakePullRequest>;
  /** In order; a commit's newest word of a context is the last. */
  readonly statuses: { readonly commit: string; readonly context: string; readonly state: string; readonly description: string }[];
  readonly comments: { readonly id: number; readonly number: number; body: string; edits: number }[];
  /** "POST /repos/…", in order. */
  readonly requests: string[];
  /** What the token may do. */
  level: "none" | "read" | "write";
  /** Answers the next requests so instead, as many as there are. */
  readonly answers: { readonly status: number; readonly headers?: Record<string, string>; readonly body?: unknown }[];
  deleteComment(id: number): void;
  /** No answer to anything, until it is opened again. */
  isSilent: boolean;
  stop(): Promise<void>;
}

const project = "flotilla/shop";

/**
 * A forge that speaks the REST calls that are used here, in the shapes of the public documentation: GitHub REST 2022-11-28 (repos, pulls, commit statuses,
 * issue comments), Gitea API v1 (the same paths), GitLab API v4 (projects, merge requests, commit statuses, notes). It refuses what they refuse: unknown
 * tokens, missing rights, descriptions that are too long, states that a commit's status cannot go to.
 */
export async function startFakeForge(kind: FakeForgeKind): Promise<FakeForge> {
  const prefix = { github: "/api/v3", gitlab: "/api/v4", gitea: "/api/v1" }[kind];
  const forge: Omit<FakeForge, "url" | "apiUrl" | "stop"> = {
    token: "the-token-of-the-forge",
    pullRequests: new Map(),
    statuses: [],
    comments: [],
    requests: [],
    level: "write",
    answers: [],
    isSilent: false,
    deleteComment(id) {
      forge.comments.splice(
        forge.comments.findIndex((comment) => comment.id === id),
        1,
      );
    },
  };
  let lastId = 100;
  const server = createServer((request, response) => {
    if (forge.isSilent) return;
    void answer(request, response);
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString("utf8");
    const body = (text === "" ? {} : JSON.parse(text)) as Record<string, string>;
    const url = new URL(request.url ?? "/", "http://forge");
    forge.requests.push(`${request.method} ${url.pathname.slice(prefix.length)}`);
    const send = (status: number, json: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { "content-type": "application/json; charset=utf-8", ...headers }).end(JSON.stringify(json));
    };
    const planned = forge.answers.shift();
    if (planned) return send(planned.status, planned.body ?? { message: "planned" }, planned.headers);
    const wanted = { github: `Bearer ${forge.token}`, gitlab: `Bearer ${forge.token}`, gitea: `token ${forge.token}` }[kind];
    if (request.headers.authorization !== wanted) return send(401, { message: "Bad credentials" });
    if (!url.pathname.startsWith(`${prefix}/`)) return send(404, { message: "Not Found" });
    const path = url.pathname.slice(prefix.length);
    const page = Number(url.searchParams.get("page") ?? 1);
    const size = Number(url.searchParams.get(kind === "gitea" ? "limit" : "per_page") ?? 30);
    if (kind === "gitlab") return gitlab(request.method ?? "", path, body, { page, size }, send);
    return github(request.method ?? "", path, body, { page, size }, send);
  }

  type Send = (status: number, json: unknown) => void;
  interface Pages {
    readonly page: number;
    readonly size: number;
  }

  const pageOf = (number: number, { page, size }: Pages): unknown[] =>
    forge.comments
      .filter((comment) => comment.number === number)
      .slice((page - 1) * size, page * size)
      .map(({ id, body }) => ({ id, body, user: { login: "flotilla" }, created_at: "2026-11-25T12:00:00Z" }));
  const add = (number: number, body: string): { id: number; body: string } => {
    lastId += 1;
    forge.comments.push({ id: lastId, number, body, edits: 0 });
    return { id: lastId, body };
  };
  const edit = (id: number, body: string): { id: number; body: string } | undefined => {
    const comment = forge.comments.find((found) => found.id === id);
    if (!comment) return undefined;
    comment.body = body;
    comment.edits += 1;
    return { id, body };
  };

  function github(method: string, path: string, body: Record<string, string>, pages: Pages, send: Send): void {
    const home = `/repos/${project}`;
    if (!path.startsWith(home) || forge.level === "none") return send(404, { message: "Not Found", documentation_url: "https://docs.github.com/rest" });
    const rest = path.slice(home.length);
    const mayWrite = forge.level === "write";
    if (method !== "GET" && !mayWrite) return send(403, { message: "Resource not accessible by personal access token" });
    if (rest === "" && method === "GET") return send(200, { id: 1, full_name: project, permissions: { admin: false, push: mayWrite, pull: true } });
    const status = /^\/statuses\/([0-9a-f]{40})$/.exec(rest);
    if (status?.[1] && method === "POST") {
      const { state = "", description = "", context = "default" } = body;
      if (!["error", "failure", "pending", "success"].includes(state) || (kind === "github" && description.length > 140))
        return send(422, { message: "Validation Failed", errors: [{ resource: "Status", code: "custom" }] });
      forge.statuses.push({ commit: status[1], context, state, description });
      return send(201, { id: forge.statuses.length, state, description, context });
    }
    const pull = /^\/pulls\/(\d+)$/.exec(rest);
    if (pull && method === "GET") {
      const found = forge.pullRequests.get(Number(pull[1]));
      if (!found) return send(404, { message: "Not Found" });
      return send(200, {
        number: Number(pull[1]),
        state: found.isOpen ? "open" : "closed",
        head: { ref: "feature", sha: found.head, repo: { full_name: found.isFork ? "stranger/shop" : project } },
        base: { ref: found.base, sha: "0".repeat(40), repo: { full_name: project } },
      });
    }
    const comments = /^\/issues\/(\d+)\/comments$/.exec(rest);
    if (comments && method === "GET") return send(200, pageOf(Number(comments[1]), pages));
    if (comments && method === "POST") return send(201, add(Number(comments[1]), body["body"] ?? ""));
    const comment = /^\/issues\/comments\/(\d+)$/.exec(rest);
    if (comment && method === "PATCH") {
      const edited = edit(Number(comment[1]), body["body"] ?? "");
      return edited ? send(200, edited) : send(404, { message: "Not Found" });
    }
    return send(404, { message: "Not Found" });
  }

  function gitlab(method: string, path: string, body: Record<string, string>, pages: Pages, send: Send): void {
    const home = `/projects/${encodeURIComponent(project)}`;
    if (!path.startsWith(home) || forge.level === "none") return send(404, { message: "404 Project Not Found" });
    const rest = path.slice(home.length);
    const level = forge.level === "write" ? 30 : 20;
    if (rest === "" && method === "GET")
      return send(200, { id: 7, path_with_namespace: project, permissions: { project_access: { access_level: level }, group_access: null } });
    if (method !== "GET" && level < 30) return send(403, { message: "403 Forbidden" });
    const status = /^\/statuses\/([0-9a-f]{40})$/.exec(rest);
    if (status?.[1] && method === "POST") {
      const { state = "", description = "", name = "default" } = body;
      if (!["pending", "running", "success", "failed", "canceled"].includes(state) || description.length > 255)
        return send(400, { message: "400 Bad request" });
      // A status that goes on is moved; one that has ended is followed by a new one.
      const before = forge.statuses.findLast(({ commit, context }) => commit === status[1] && context === name);
      const verb = { pending: "enqueue", running: "run" }[state];
      if (before?.state === state && verb !== undefined)
        return send(400, { message: `Cannot transition status via :${verb} from :${state} (Reason(s): Status cannot transition via "${verb}")` });
      forge.statuses.push({ commit: status[1], context: name, state, description });
      return send(201, { id: forge.statuses.length, sha: status[1], status: state, name, description });
    }
    const merge = /^\/merge_requests\/(\d+)$/.exec(rest);
    if (merge && method === "GET") {
      const found = forge.pullRequests.get(Number(merge[1]));
      if (!found) return send(404, { message: "404 Not found" });
      return send(200, {
        iid: Number(merge[1]),
        state: found.isOpen ? "opened" : "merged",
        sha: found.head,
        source_branch: "feature",
        target_branch: found.base,
        source_project_id: found.isFork ? 8 : 7,
        target_project_id: 7,
      });
    }
    const notes = /^\/merge_requests\/(\d+)\/notes$/.exec(rest);
    if (notes && method === "GET") return send(200, pageOf(Number(notes[1]), pages));
    if (notes && method === "POST") return send(201, add(Number(notes[1]), body["body"] ?? ""));
    const note = /^\/merge_requests\/\d+\/notes\/(\d+)$/.exec(rest);
    if (note && method === "PUT") {
      const edited = edit(Number(note[1]), body["body"] ?? "");
      return edited ? send(200, edited) : send(404, { message: "404 Not found" });
    }
    return send(404, { error: "404 Not Found" });
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(forge, {
    url,
    apiUrl: `${url}${prefix}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
