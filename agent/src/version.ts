declare const FLOTILLA_VERSION: string | undefined;

/** The agent's version: the bundle's, or "0.0.0-source" when it runs from a clone. */
export const agentVersion: string = typeof FLOTILLA_VERSION === "string" ? FLOTILLA_VERSION : "0.0.0-source";
