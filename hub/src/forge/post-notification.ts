import { createHmac } from "node:crypto";
import { notificationMs } from "../limits.ts";

/**
 * Hands a CloudEvent (1.0, structured JSON) to a receiver, signed as our own webhooks are: X-Flotilla-Signature is the HMAC-SHA-256 of the body.
 *
 * @throws Error when it is not taken: everything but 2xx.
 */
export async function postNotification(url: string, secret: string, event: unknown): Promise<void> {
  const body = JSON.stringify(event);
  const signature = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
  const response = await fetch(url, {
    method: "POST",
    redirect: "manual",
    headers: { "content-type": "application/cloudevents+json", "x-flotilla-signature": signature, "user-agent": "flotilla" },
    body,
    signal: AbortSignal.timeout(notificationMs),
  }).catch((error: unknown) => {
    const { cause, message } = error as Error;
    throw new Error(`${new URL(url).host} cannot be reached: ${cause instanceof Error ? cause.message : message}`, { cause: error });
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`${new URL(url).host} answered ${response.status}`);
}
