import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";

/** Path to content: a string or bytes is a file, a symlink points somewhere, null deletes. */
export type GitChanges = Record<string, string | Uint8Array | { symlink: string } | { executable: string } | { submodule: string } | null>;

export interface CommitOptions {
  branch?: string;
  message?: string;
  author?: string;
  /** Without it the branch's tip; null begins a history that has no parent. */
  parent?: string | null;
}

/** How the server misbehaves; all requests of all repositories. */
export type GitFailure =
  | { kind: "none" }
  /** Takes requests and never answers. */
  | { kind: "hang" }
  | { kind: "status"; status: number }
  /** Ends the connection after that many bytes of an answer's body. */
  | { kind: "cut"; afterBytes: number };

export interface GitRepository {
  readonly name: string;
  /** http://127.0.0.1:…/name.git; holds no credentials. */
  readonly url: string;
  /** The bare repository on disk. */
  readonly folder: string;
  /** Commits on top of a branch, as a push would; returns the commit's full hash. */
  commit(changes: GitChanges, options?: CommitOptions): Promise<string>;
  /** Points a branch at a commit, whatever it pointed at: a force push. */
  forcePush(branch: string, commit: string): Promise<void>;
  createBranch(branch: string, from?: string): Promise<void>;
  deleteBranch(branch: string): Promise<void>;
  /** Creates or moves a tag; annotated when a message is given. */
  tag(name: string, options?: { at?: string; message?: string }): Promise<void>;
  deleteTag(name: string): Promise<void>;
  /** The commit a ref points at. */
  resolve(ref: string): Promise<string>;
  /** Real git in the bare repository, for what is not here. */
  git(args: readonly string[], input?: string | Uint8Array): Promise<string>;
}

export interface GitServer {
  readonly url: string;
  createRepository(name: string): Promise<GitRepository>;
  /** From now on a request needs this password (any user name, or a bearer token); undefined opens the server again. */
  requireToken(token: string | undefined): void;
  fail(failure: GitFailure): void;
  /** Requests since the start, `GET /shop.git/info/refs?…`. */
  readonly requests: readonly string[];
  stop(): Promise<void>;
}

interface ServerState {
  root: string;
  token: string | undefined;
  failure: GitFailure;
  requests: string[];
}

/** A real smart-HTTP Git server on loopback: Node in front of `git http-backend`. */
export async function startGitServer(): Promise<GitServer> {
  const state: ServerState = { root: await scratchFolder("git"), token: undefined, failure: { kind: "none" }, requests: [] };
  const server = createServer((request, response) => {
    // A client that went away in the middle is its own affair.
    answer(state, request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    requests: state.requests,
    createRepository: (name) => createRepository(state.root, url, name),
    requireToken(token) {
      state.token = token;
    },
    fail(failure) {
      state.failure = failure;
    },
    stop: () => stop(server, state.root),
  };
}

async function stop(server: Server, root: string): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
  await removeFolder(root);
}

async function answer(state: ServerState, request: IncomingMessage, response: ServerResponse): Promise<void> {
  state.requests.push(`${request.method} ${request.url}`);
  const { failure } = state;
  if (failure.kind === "hang") return;
  if (failure.kind === "status") return void response.writeHead(failure.status).end("the test's Git server was told to fail\n");
  if (!isAllowed(state.token, request.headers.authorization)) {
    return void response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end("authentication needed\n");
  }
  await runBackend(state.root, request, response, failure.kind === "cut" ? failure.afterBytes : Number.POSITIVE_INFINITY);
}

function isAllowed(token: string | undefined, authorization: string | undefined): boolean {
  if (token === undefined) return true;
  const [scheme, credentials = ""] = (authorization ?? "").split(" ");
  if (scheme?.toLowerCase() === "bearer") return credentials === token;
  return Buffer.from(credentials, "base64").toString("utf8").split(":").slice(1).join(":") === token;
}

/** CGI, RFC 3875: request in the environment and stdin; headers, an empty line and the body come back. */
async function runBackend(root: string, request: IncomingMessage, response: ServerResponse, bytesLeft: number): Promise<void> {
  const { pathname, search } = new URL(request.url ?? "/", "http://git");
  const backend = spawn("git", ["http-backend"], {
    env: {
      PATH: process.env.PATH,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      GIT_CONFIG_NOSYSTEM: "1",
      REQUEST_METHOD: request.method,
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      CONTENT_LENGTH: request.headers["content-length"] ?? "",
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
      GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
      REMOTE_USER: "test",
      REMOTE_ADDR: "127.0.0.1",
    },
    stdio: ["pipe", "pipe", "ignore"],
  });
  backend.stdin.on("error", () => undefined);
  request.pipe(backend.stdin);
  response.once("close", () => backend.kill());
  let head: Buffer = Buffer.alloc(0);
  let headDone = false;
  for await (const part of backend.stdout as AsyncIterable<Buffer>) {
    let body: Buffer = part;
    if (!headDone) {
      head = Buffer.concat([head, part]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) continue;
      headDone = true;
      writeHead(response, head.subarray(0, end).toString("latin1"));
      body = head.subarray(end + 4);
    }
    if (body.length > bytesLeft) {
      response.write(body.subarray(0, bytesLeft), () => response.socket?.resetAndDestroy());
      return;
    }
    bytesLeft -= body.length;
    if (!response.write(body)) await drained(response);
    if (response.destroyed) return;
  }
  if (!headDone) response.writeHead(500);
  response.end();
}

/** Until the answer takes more, or nobody wants it any longer. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

function writeHead(response: ServerResponse, head: string): void {
  let status = 200;
  for (const line of head.split("\r\n")) {
    const [name = "", value = ""] = line.split(/:\s*/, 2);
    if (name.toLowerCase() === "status") status = Number.parseInt(value, 10);
    else response.setHeader(name, line.slice(line.indexOf(":") + 1).trim());
  }
  response.writeHead(status);
}

async function createRepository(root: string, serverUrl: string, name: string): Promise<GitRepository> {
  const folder = join(root, `${name}.git`);
  await runGit(["init", "--quiet", "--bare", "--initial-branch=main", folder]);
  const git = (args: readonly string[], input?: string | Uint8Array) => runGit(["-C", folder, ...args], input);
  // A push into a bare repository over HTTP; and old commits by hash, as GitHub serves them.
  await git(["config", "http.receivepack", "true"]);
  await git(["config", "uploadpack.allowAnySHA1InWant", "true"]);
  await git(["config", "uploadpack.allowFilter", "true"]);
  const resolve = async (ref: string) => (await git(["rev-parse", "--verify", "--end-of-options", `${ref}^{commit}`])).trim();
  return {
    name,
    url: `${serverUrl}/${name}.git`,
    folder,
    git,
    resolve,
    async commit(changes, options = {}) {
      const branch = options.branch ?? "main";
      const parent = options.parent === undefined ? await resolve(`refs/heads/${branch}`).catch(() => null) : options.parent;
      await git(["fast-import", "--quiet", "--force"], importStream(changes, branch, parent, options));
      return resolve(`refs/heads/${branch}`);
    },
    forcePush: async (branch, commit) => void (await git(["update-ref", `refs/heads/${branch}`, commit])),
    createBranch: async (branch, from = "main") => void (await git(["update-ref", `refs/heads/${branch}`, await resolve(from)])),
    deleteBranch: async (branch) => void (await git(["update-ref", "-d", `refs/heads/${branch}`])),
    async tag(tagName, { at = "main", message } = {}) {
      const commit = await resolve(at);
      if (message === undefined) await git(["update-ref", `refs/tags/${tagName}`, commit]);
      else await git(["tag", "--force", "--annotate", "--message", message, tagName, commit]);
    },
    deleteTag: async (tagName) => void (await git(["update-ref", "-d", `refs/tags/${tagName}`])),
  };
}

/** One process per commit, whatever the number of files. */
function importStream(changes: GitChanges, branch: string, parent: string | null, options: CommitOptions): Buffer {
  const parts: (string | Uint8Array)[] = [];
  const text = (value: string | Uint8Array) => {
    const bytes = typeof value === "string" ? Buffer.from(value) : value;
    parts.push(`data ${bytes.length}\n`, bytes, "\n");
  };
  const who = `${options.author ?? "Test"} <test@example.com> ${Math.floor(Date.now() / 1_000)} +0000\n`;
  parts.push(`commit refs/heads/${branch}\nauthor ${who}committer ${who}`);
  text(options.message ?? "Change");
  if (parent) parts.push(`from ${parent}\n`);
  for (const [path, content] of Object.entries(changes)) {
    const quoted = JSON.stringify(path);
    if (content === null) parts.push(`D ${quoted}\n`);
    else if (typeof content === "object" && "submodule" in content) parts.push(`M 160000 ${content.submodule} ${quoted}\n`);
    else {
      const [mode, bytes] = modeAndBytes(content);
      parts.push(`M ${mode} inline ${quoted}\n`);
      text(bytes);
    }
  }
  return Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)));
}

function modeAndBytes(content: string | Uint8Array | { symlink: string } | { executable: string }): [string, string | Uint8Array] {
  if (typeof content === "string" || content instanceof Uint8Array) return ["100644", content];
  return "symlink" in content ? ["120000", content.symlink] : ["100755", content.executable];
}

async function runGit(args: readonly string[], input?: string | Uint8Array): Promise<string> {
  const running = promisify(execFile)("git", args, {
    maxBuffer: 64 * 1024 ** 2,
    env: { PATH: process.env.PATH, HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1", GIT_CONFIG_GLOBAL: "/dev/null", ...identity },
  });
  running.child.stdin?.on("error", () => undefined);
  running.child.stdin?.end(input);
  return (await running).stdout;
}

const identity = { GIT_AUTHOR_NAME: "Test", GIT_AUTHOR_EMAIL: "test@example.com", GIT_COMMITTER_NAME: "Test", GIT_COMMITTER_EMAIL: "test@example.com" };
