import type { Problem } from "./problem.ts";
import type { SourceTree, TreeFile } from "./source-tree.ts";

/**
 * A tree that notes what it is asked. Whoever only asks it, and nothing else that changes, comes to the same result for every tree that
 * would answer alike: that is how an unchanged part of a large repository is known without being looked at again.
 */
export class NotedTree implements SourceTree {
  readonly answers = new TreeAnswers();
  readonly #tree: SourceTree;

  constructor(tree: SourceTree) {
    this.#tree = tree;
  }

  get revision(): string {
    return this.#tree.revision;
  }

  get treeId(): string {
    this.answers.note("content", this.#tree, "");
    return this.#tree.treeId;
  }

  kindOf(path: string): "file" | "folder" | undefined {
    this.answers.note("kind", this.#tree, path);
    return this.#tree.kindOf(path);
  }

  refused(path: string): Problem | undefined {
    this.answers.note("refusal", this.#tree, path);
    return this.#tree.refused(path);
  }

  files(folder: string): readonly TreeFile[] {
    this.answers.note("content", this.#tree, folder);
    return this.#tree.files(folder);
  }

  idOf(path: string): string | undefined {
    this.answers.note("content", this.#tree, path);
    return this.#tree.idOf(path);
  }

  read(paths: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
    for (const path of paths) this.answers.note("content", this.#tree, path);
    return this.#tree.read(paths);
  }
}

type Answer = (tree: SourceTree, path: string) => string;

const refusalIn: Answer = (tree, path) => {
  const problem = tree.refused(path);
  return problem === undefined ? "" : JSON.stringify(problem);
};

const questions = {
  /** All that is in a folder and below. What cannot be read has no id: why it cannot is all there is to know. */
  content: (tree, path) => {
    const kind = tree.kindOf(path);
    return kind === undefined ? `! ${refusalIn(tree, path)}` : `${kind} ${tree.idOf(path) ?? refusalIn(tree, path)}`;
  },
  kind: (tree, path) => tree.kindOf(path) ?? "",
  refusal: refusalIn,
} satisfies Record<string, Answer>;

type Question = keyof typeof questions;

/** What a tree answered; it does not keep the tree. */
export class TreeAnswers {
  readonly #given: Readonly<Record<Question, Map<string, string>>> = { content: new Map(), kind: new Map(), refusal: new Map() };

  note(question: Question, tree: SourceTree, path: string): void {
    const given = this.#given[question];
    if (given.has(path) || (question === "content" && this.#isInside(path))) return;
    given.set(path, questions[question](tree, path));
  }

  get size(): number {
    return Object.values(this.#given).reduce((sum, { size }) => sum + size, 0);
  }

  /** Whether another tree would have given every one of them. */
  areOf(tree: SourceTree): boolean {
    for (const question of Object.keys(questions) as Question[]) {
      for (const [path, was] of this.#given[question]) if (questions[question](tree, path) !== was) return false;
    }
    return true;
  }

  /** Below a folder whose content is noted: a bundle of a thousand files is one answer. */
  #isInside(path: string): boolean {
    const { content } = this.#given;
    if (content.has("")) return true;
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      if (content.has(path.slice(0, end))) return true;
    }
    return false;
  }
}

/** Results by key, each with what a tree answered for it. Bounded by the number of answers; what was not used for longest goes first. */
export class TreeMemory<Result> {
  readonly #limit: number;
  readonly #known = new Map<string, { readonly answers: TreeAnswers; readonly result: Result }>();
  #answers = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** What the key came to, when the tree would answer all that was asked for it as the tree did then. */
  recall(key: string, tree: SourceTree): Result | undefined {
    const known = this.#known.get(key);
    if (known === undefined || !known.answers.areOf(tree)) return undefined;
    this.#known.delete(key);
    this.#known.set(key, known);
    return known.result;
  }

  remember(key: string, { answers }: NotedTree, result: Result): void {
    this.#forget(key);
    this.#known.set(key, { answers, result });
    this.#answers += answers.size;
    for (const oldest of this.#known.keys()) {
      if (this.#answers <= this.#limit) return;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    this.#answers -= this.#known.get(key)?.answers.size ?? 0;
    this.#known.delete(key);
  }
}
