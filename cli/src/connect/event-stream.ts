import { maxStreamEventBytes } from "../limits.ts";

/** One message of a text/event-stream. */
export interface StreamMessage {
  readonly event: string;
  readonly data: string;
  /** The stream's last id so far: what a resume sends. */
  readonly id: string | undefined;
}

/** Cuts bytes into messages as the HTML standard says; comments only keep the connection alive. Throws when one is too large. */
export async function* readEventStream(chunks: AsyncIterable<Buffer>): AsyncGenerator<StreamMessage> {
  const decoder = new TextDecoder();
  let rest = "";
  let message = { event: "message", data: [] as string[] };
  let id: string | undefined;
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    if (rest.length > maxStreamEventBytes) throw new Error("the hub's stream sent a line that is too long");
    for (const line of lines) {
      if (line === "") {
        if (message.data.length > 0) yield { event: message.event, data: message.data.join("\n"), id };
        message = { event: "message", data: [] };
        continue;
      }
      const [field, value] = splitField(line);
      if (field === "event") message.event = value;
      if (field === "data") message.data.push(value);
      if (field === "id") id = value;
    }
  }
}

function splitField(line: string): [field: string, value: string] {
  const colon = line.indexOf(":");
  if (colon < 0) return [line, ""];
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
}
