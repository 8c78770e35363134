/**
 * Cron schedules of five fields in an IANA time zone, as sync windows use them. Local time counts: a start that a spring change skips is at the
 * first moment after the gap, one that an autumn change repeats is at the first of the two. Zones come from Intl.
 */

export interface Schedule {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** With both days and weekdays restricted either counts, as cron has it. */
  readonly isEither: boolean;
}

export type ParsedSchedule = { readonly ok: true; readonly schedule: Schedule } | { readonly ok: false; readonly message: string };

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly words?: readonly string[];
}

const fields: readonly Field[] = [
  { name: "minute", min: 0, max: 59 },
  { name: "hour", min: 0, max: 23 },
  { name: "day of the month", min: 1, max: 31 },
  { name: "month", min: 1, max: 12, words: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"] },
  { name: "day of the week", min: 0, max: 7, words: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/** Read "30 22 * * 1-5". */
export function parseSchedule(text: string): ParsedSchedule {
  const parts = text.trim().split(/\s+/);
  if (parts.length !== 5)
    return { ok: false, message: `a schedule has five fields (minute hour day month weekday), '${text.slice(0, 60)}' has ${parts.length}` };
  const read: number[][] = [];
  for (const [index, field] of fields.entries()) {
    const values = readField(parts[index] ?? "", field);
    if (typeof values === "string") return { ok: false, message: values };
    read.push(values);
  }
  const [minutes = [], hours = [], days = [], months = [], weekdays = []] = read;
  const isEither = parts[2] !== "*" && parts[4] !== "*";
  const schedule = { minutes, hours, days: new Set(days), months: new Set(months), weekdays: new Set(weekdays.map((day) => day % 7)), isEither };
  return { ok: true, schedule };
}

/** The values of one field, sorted; or what is wrong with it. */
function readField(text: string, field: Field): number[] | string {
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^(\*|[0-9a-z]+(?:-[0-9a-z]+)?)(?:\/([0-9]+))?$/i.exec(part);
    const [from, to] = part.startsWith("*") ? [field.min, field.max] : (match?.[1] ?? "").split("-").map((word) => readValue(word, field));
    const step = Number(match?.[2] ?? 1);
    const end = to ?? (match?.[2] === undefined ? from : field.max);
    if (!match || from === undefined || end === undefined || from > end || step < 1)
      return `'${part.slice(0, 30)}' is not a ${field.name}: it takes ${field.min} to ${field.max}, ranges such as ${field.min}-${field.min + 2}, lists and steps such as */2`;
    for (let value = from; value <= end; value += step) values.add(value);
  }
  return [...values].sort((a, b) => a - b);
}

function readValue(word: string, { min, max, words }: Field): number | undefined {
  const named = words?.indexOf(word.toLowerCase()) ?? -1;
  // Months count from 1, days of the week from 0.
  if (named >= 0) return named + min;
  const value = /^[0-9]+$/.test(word) ? Number(word) : -1;
  return value >= min && value <= max ? value : undefined;
}

/** Whether Intl knows a time zone. */
export function isTimeZone(zone: string): boolean {
  try {
    formatterOf(zone);
    return true;
  } catch {
    return false;
  }
}

const dayMs = 86_400_000;
const minuteMs = 60_000;

/** The last start at or before a time (epoch ms), not older than `withinMs`; undefined when there is none. */
export function lastStart(schedule: Schedule, zone: string, at: number, withinMs: number): number | undefined {
  const oldest = at - withinMs;
  for (let day = localDay(zone, at); day >= localDay(zone, oldest); day -= dayMs) {
    const start = startsOn(schedule, zone, day).findLast((candidate) => candidate <= at);
    if (start !== undefined) return start >= oldest ? start : undefined;
  }
  return undefined;
}

/** Days looked ahead: leap days come every four years, eight at the turn of some centuries. */
const aheadDays = 3_000;

/** The first start after a time; undefined when there is none in eight years. */
export function nextStart(schedule: Schedule, zone: string, after: number): number | undefined {
  const first = localDay(zone, after);
  for (let ahead = 0; ahead <= aheadDays; ahead++) {
    const start = startsOn(schedule, zone, first + ahead * dayMs).find((candidate) => candidate > after);
    if (start !== undefined) return start;
  }
  return undefined;
}

/** Starts on one local day, in order. The day is its midnight as if in UTC. */
function startsOn(schedule: Schedule, zone: string, day: number): number[] {
  const date = new Date(day);
  const [byDay, byWeekday] = [schedule.days.has(date.getUTCDate()), schedule.weekdays.has(date.getUTCDay())];
  if (!schedule.months.has(date.getUTCMonth() + 1) || !(schedule.isEither ? byDay || byWeekday : byDay && byWeekday)) return [];
  const starts = new Set<number>();
  for (const hour of schedule.hours) for (const minute of schedule.minutes) starts.add(instantOf(zone, day + (hour * 60 + minute) * minuteMs));
  return [...starts].sort((a, b) => a - b);
}

/** A local time "2026-12-24T18:00" (seconds are optional) as epoch ms; undefined when it is not one. */
export function localInstant(zone: string, text: string): number | undefined {
  const match = /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2}))?$/.exec(text);
  if (!match) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map((part) => Number(part ?? 0));
  const local = Date.UTC(year, month - 1, day, hour, minute, second);
  // 2026-02-30 would pass for the second of March.
  const isReal = new Date(local).getUTCDate() === day && hour < 24 && minute < 60 && second < 60 && month <= 12;
  return isReal ? instantOf(zone, local) : undefined;
}

/** The moment at which the clocks of a zone show a local time (given as if it were UTC). */
function instantOf(zone: string, local: number): number {
  const [before, after] = [local - offsetAt(zone, local - dayMs), local - offsetAt(zone, local + dayMs)];
  if (before === after) return before;
  const shown = [before, after].filter((candidate) => candidate + offsetAt(zone, candidate) === local);
  if (shown.length > 0) return Math.min(...shown);
  return changeBetween(zone, Math.min(before, after), Math.max(before, after));
}

/** The minute at which the offset changes: clocks change on whole minutes. */
function changeBetween(zone: string, from: number, to: number): number {
  let [low, high] = [from, to];
  const old = offsetAt(zone, from);
  while (high - low > minuteMs) {
    const middle = low + Math.floor((high - low) / 2 / minuteMs) * minuteMs;
    if (offsetAt(zone, middle) === old) low = middle;
    else high = middle;
  }
  return high;
}

function localDay(zone: string, at: number): number {
  return Math.floor((at + offsetAt(zone, at)) / dayMs) * dayMs;
}

const formatters = new Map<string, Intl.DateTimeFormat>();
/** Windows of one cluster name a few zones; whoever names hundreds makes them anew. */
const formattersMax = 64;

function formatterOf(zone: string): Intl.DateTimeFormat {
  const known = formatters.get(zone);
  if (known) return known;
  const made = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    calendar: "iso8601",
    numberingSystem: "latn",
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  if (formatters.size >= formattersMax) formatters.clear();
  formatters.set(zone, made);
  return made;
}

/** Offsets by zone and quarter of an hour: clocks change on these. */
const offsets = new Map<string, number>();
const offsetsMax = 2_000;
const quarterMs = 900_000;

/** Local time minus UTC in ms, at a moment. */
export function offsetAt(zone: string, at: number): number {
  if (zone === "UTC") return 0;
  const quarter = Math.floor(at / quarterMs) * quarterMs;
  const key = `${zone} ${quarter}`;
  const known = offsets.get(key);
  if (known !== undefined) return known;
  const parts = formatterOf(zone).formatToParts(quarter);
  const part = (type: string) => Number(parts.find((candidate) => candidate.type === type)?.value);
  const offset = Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second")) - quarter;
  if (offsets.size >= offsetsMax) offsets.clear();
  offsets.set(key, offset);
  return offset;
}
