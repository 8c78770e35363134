/**
 * A function that takes chunks of a stream and gives `onLine` each whole line, without its end. Empty lines are left out.
 *
 * @throws Error (from the returned function) when a line is longer than maxBytes.
 */
export function splitLines(maxBytes: number, onLine: (line: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer[] = [];
  let restBytes = 0;
  return (chunk) => {
    let from = 0;
    for (let end = chunk.indexOf(10, from); end >= 0; end = chunk.indexOf(10, from)) {
      const part = chunk.subarray(from, end);
      const line = rest.length === 0 ? part : Buffer.concat([...rest, part]);
      [rest, restBytes, from] = [[], 0, end + 1];
      if (line.length > 0) onLine(line);
    }
    if (from === chunk.length) return;
    rest.push(chunk.subarray(from));
    restBytes += chunk.length - from;
    if (restBytes > maxBytes) throw new Error(`a line is longer than ${maxBytes} bytes`);
  };
}
