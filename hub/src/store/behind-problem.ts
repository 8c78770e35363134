/** SQL: the problem of a row of `targets` that is behind what the agent holds. */
export function behindProblem(alias: string): string {
  const message = "the agent holds generation %s, newer than %s of this hub''s database, which was restored from a backup: nothing is sent until Git answers";
  const hint = "make the repository reachable: what it says now is released above what the agent holds";
  return `jsonb_build_object('code', 'hub-behind', 'message', format('${message}', ${alias}.held_generation, ${alias}.generation), 'hint', '${hint}')`;
}
