/**
 * Which suspension holds for a fleet, cluster and bundle, as SQL; null when none does. Mostly there is none at all, which is asked once and not for each row
 * of a page.
 */
export function suspendedSql(fleet: string, cluster: string, bundle: string): string {
  return `CASE WHEN EXISTS (SELECT FROM suspensions) THEN suspension_of(${fleet}, ${cluster}, ${bundle}) END AS suspended`;
}
