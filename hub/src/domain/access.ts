/** What whoever has a token may do: look; act; also make and revoke tokens, and change the hub's CA. */
export type Access = "view" | "operate" | "admin";

const ranks: Readonly<Record<Access, number>> = { view: 0, operate: 1, admin: 2 };

/** Whether one includes the other. */
export function allows(given: Access, needed: Access): boolean {
  return ranks[given] >= ranks[needed];
}

/** Whether somebody with these roles may speak for one; "*" speaks for all. */
export function hasRole(roles: readonly string[], role: string): boolean {
  return roles.includes("*") || roles.includes(role);
}

/** Who a token stands for. */
export interface TokenHolder {
  readonly id: string;
  readonly access: Access;
}
