const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The first byte of NATS' keys as text: by it they begin with U, A, O or P. */
export const nkeyPrefixes = { user: 20 << 3, account: 0, operator: 14 << 3, private: 15 << 3 } as const;

/** NATS' text of an Ed25519 key: base32 of a prefix, the key's bytes, and their CRC-16 (XMODEM), low byte first. */
export function nkeyText(kind: keyof typeof nkeyPrefixes, raw: Uint8Array): string {
  const body = Buffer.concat([Buffer.from([nkeyPrefixes[kind]]), raw]);
  const check = crc16(body);
  let text = "";
  let [bits, value] = [0, 0];
  for (const byte of [...body, check & 0xff, check >> 8]) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += base32[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + base32[(value << (5 - bits)) & 31];
}

/** The bytes of such a text, prefix and checksum with them; the checksum is not looked at. */
export function nkeyBytes(text: string): Buffer {
  const bytes: number[] = [];
  let [bits, value] = [0, 0];
  for (const letter of text) {
    value = (value << 5) | base32.indexOf(letter);
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((value >>> bits) & 0xff);
    value &= (1 << bits) - 1;
  }
  return Buffer.from(bytes);
}

function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}
