/** Where the hub's own secrets are kept, sealed, for all its replicas. */
export interface HubSecrets {
  load(name: string): Promise<string | undefined>;
  /** Keeps `value` unless there is one already. Gives what is kept: two replicas that start at once agree. */
  createOnce(name: string, value: string): Promise<string>;
}
