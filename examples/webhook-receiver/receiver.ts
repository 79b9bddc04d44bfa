import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';

/**
 * What a receiver of MiniVoice webhooks needs, in one file to copy: it checks who has sent an event, tells
 * whether it has come before, and answers so that what could not be handled is sent again. It needs nothing
 * but Node.
 *
 *   const receiver = new WebhookReceiver({ secret, onEvent: async ({ id, event, call, data }) => { … } });
 *   createServer((request, response) => void receiver.handle(request, response)).listen(3000);
 */
export interface MiniVoiceEvent {
  /** The same on every attempt, and for a redelivery. */
  id: string;
  /** 1 for the first. */
  attempt: number;
  event: string;
  created_at: string;
  call: { id: string; status: string } & Record<string, unknown>;
  variables: Record<string, string>;
  data: { event_key: string } & Record<string, unknown>;
}

/**
 * Which events were handled. In production a table with a unique key, written in the transaction that handles
 * the event.
 */
export interface Seen {
  has(id: string): boolean | Promise<boolean>;
  add(id: string): void | Promise<void>;
}

export interface ReceiverOptions {
  secret: string;
  /**
   * Called once for each event. When it throws, the event is sent again later. Slow work belongs behind it:
   * MiniVoice waits 10 seconds.
   */
  onEvent: (event: MiniVoiceEvent) => void | Promise<void>;
  /** An event that has come before; for counting them. */
  onDuplicate?: (event: MiniVoiceEvent) => void;
  seen?: Seen;
  /** How far the sender's clock may be from ours, in seconds. */
  toleranceSeconds?: number;
  now?: () => number;
}

const LARGEST = 1024 * 1024;

/**
 * Whether MiniVoice has sent this body, and lately. Signed are the timestamp, a dot and the raw body, so it
 * must be checked before the body is parsed. While a secret is rotating there are two signatures, and one
 * that fits is enough.
 * @param now milliseconds since the epoch
 */
export function verify(
  secret: string,
  headers: IncomingHttpHeaders,
  rawBody: Buffer | string,
  { now = Date.now(), toleranceSeconds = 300 } = {},
): boolean {
  const timestamp = String(headers['x-minivoice-timestamp'] ?? '');
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(now / 1000 - Number(timestamp)) > toleranceSeconds)
    return false;
  const expected = createHmac('sha256', secret).update(`${timestamp}.`).update(rawBody).digest();
  let good = false;
  // All of them are compared, each in constant time.
  for (const signature of String(headers['x-minivoice-signature'] ?? '')
    .split(',')
    .slice(0, 4)) {
    const given = Buffer.from(/^\s*v1=([0-9a-f]{64})\s*$/.exec(signature)?.[1] ?? '', 'hex');
    if (given.length === expected.length && timingSafeEqual(given, expected)) good = true;
  }
  return good;
}

/** The newest ids, in memory: enough where a duplicate after a restart does no harm. */
export function recentIds(most = 100_000): Seen {
  const ids = new Set<string>();
  return {
    has: (id) => ids.has(id),
    add: (id) => {
      ids.add(id);
      const [oldest] = ids;
      if (ids.size > most && oldest !== undefined) ids.delete(oldest);
    },
  };
}

export class WebhookReceiver {
  readonly #o: ReceiverOptions;
  readonly #seen: Seen;
  /** Events that are being handled: the second of two at once waits for what becomes of the first. */
  readonly #running = new Map<string, Promise<number>>();

  constructor(options: ReceiverOptions) {
    this.#o = options;
    this.#seen = options.seen ?? recentIds();
  }

  /**
   * Answers a request of MiniVoice: 200 when the event is handled, now or before; anything else has it sent
   * again.
   */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let status: number;
    try {
      const body = await read(request);
      status = body ? await this.receive(request.headers, body) : 413;
    } catch {
      status = 400;
    }
    if (!response.destroyed) response.writeHead(status).end();
  }

  /** The same for other servers: the status to answer with. `rawBody` is what came, byte for byte. */
  async receive(headers: IncomingHttpHeaders, rawBody: Buffer): Promise<number> {
    const { secret, toleranceSeconds, now = Date.now } = this.#o;
    if (!verify(secret, headers, rawBody, { now: now(), toleranceSeconds })) return 401;
    const id = String(headers['x-minivoice-event-id'] ?? '');
    if (id === '') return 400;
    const event = {
      ...(JSON.parse(rawBody.toString('utf8')) as Omit<MiniVoiceEvent, 'id' | 'attempt'>),
      id,
      attempt: Number(headers['x-minivoice-attempt']),
    };
    const earlier = this.#running.get(id);
    const work = earlier
      ? earlier.then((status) => (status === 200 ? this.#duplicate(event) : status))
      : this.#once(event);
    if (earlier) return work;
    this.#running.set(id, work);
    try {
      return await work;
    } finally {
      this.#running.delete(id);
    }
  }

  async #once(event: MiniVoiceEvent): Promise<number> {
    if (await this.#seen.has(event.id)) return this.#duplicate(event);
    try {
      await this.#o.onEvent(event);
    } catch {
      return 500;
    }
    await this.#seen.add(event.id);
    return 200;
  }

  #duplicate(event: MiniVoiceEvent): number {
    this.#o.onDuplicate?.(event);
    return 200;
  }
}

async function read(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= LARGEST) chunks.push(chunk);
  }
  return size <= LARGEST ? Buffer.concat(chunks) : undefined;
}
