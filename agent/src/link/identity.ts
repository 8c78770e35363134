/** Who this agent is towards the hub. PEM texts; addresses are host:port. */
export interface Identity {
  readonly cluster: string;
  readonly privateKeyPem: string;
  readonly certificatePem: string;
  /** The hub's CAs that are trusted, first the one that signs. */
  readonly caPem: string;
  readonly linkAddress: string;
  readonly enrolAddress: string;
  /** Of the token that it was traded for. */
  readonly tokenHash?: string;
}

/** Where the identity is kept. */
export interface IdentityStore {
  load(): Promise<Identity | undefined>;
  save(identity: Identity): Promise<void>;
}
