import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

type Json = Record<string, unknown>;

/** An answer to `POST /v1/calls`: a refusal, a connection that breaks, or a call. */
export type Answer =
  | { status: number; code: string; retryAfter?: number | string; details?: Json[] }
  | 'cut'
  | 'call'
  | 'cut after the call';

/** How a call goes on by itself. */
export interface Course {
  status: 'completed' | 'failed' | 'canceled';
  code?: string;
  seconds?: number;
  /** When its webhooks come: after the 201 as usual, before it, or never; `manual`: when the test says so. */
  webhooks?: 'after' | 'before' | 'never' | 'manual';
}

export interface Placing {
  to: string;
  key: string;
  body: Json;
  authorization: string | undefined;
  status: number;
  replayed: boolean;
}

/**
 * MiniVoice as a campaign sees it: an API over real HTTP, with idempotency keys as documented, which sends
 * signed webhooks.
 */
export class FakeCallsApi {
  /** Every request to place a call, in order. */
  readonly placings: Placing[] = [];
  readonly secret = 'a secret';
  readonly calls = new Map<string, Json & { to: string; metadata: Json }>();
  /** Statuses that the campaign has answered webhooks with. */
  readonly delivered: number[] = [];
  /** By number: answers in order; when there are none any more, a call is placed. */
  readonly answers = new Map<string, Answer[]>();
  readonly courses = new Map<string, Course>();
  /** So many times calls were asked for. */
  asked = 0;
  /** The most calls that were under way at one time. */
  most = 0;
  webhookUrl = '';
  /** Called when a call has been placed. */
  onCall: (id: string) => void = () => undefined;
  readonly #kept = new Map<string, { status: number; body: Json }>();
  readonly #server: Server = createServer((request, response) => void this.#handle(request, response));

  static async open(): Promise<FakeCallsApi> {
    const api = new FakeCallsApi();
    await new Promise<void>((resolve) => api.#server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** The requests for a number, as `status key`. */
  of(number: string): string[] {
    return this.placings
      .filter(({ to }) => to === number)
      .map(
        ({ status, key, replayed }) =>
          `${status} ${key.split(':').at(-1) ?? ''}${replayed ? ' replayed' : ''}`,
      );
  }

  callTo(number: string): string {
    return [...this.calls].find(([, { to }]) => to === number)?.[0] ?? '';
  }

  /** As after 24 hours. */
  forgetKeys(): void {
    this.#kept.clear();
  }

  /** Ends a call and tells of it. */
  async end(id: string, { status, code, seconds = 0 }: Course, secret = this.secret): Promise<void> {
    const call = this.calls.get(id);
    if (!call) throw new Error(`no call ${id}`);
    Object.assign(call, {
      status,
      billsec_seconds: seconds,
      ...(code && { failure: { code, message: code } }),
      ...(seconds && { cost_amount: (seconds / 100).toFixed(2), cost_currency: 'EUR' }),
    });
    await this.deliver(
      id,
      `call.${status}`,
      { code, billsec_seconds: seconds, duration_seconds: seconds + 3 },
      secret,
    );
    if (seconds > 0)
      await this.deliver(
        id,
        'recording.completed',
        { id: `rec_${id}`, file_url: `https://example.com/rec_${id}` },
        secret,
      );
  }

  /** Sends a webhook, twice as it may happen. */
  async deliver(id: string, event: string, data: Json, secret = this.secret): Promise<void> {
    const body = JSON.stringify({
      event,
      created_at: '2026-05-29T12:10:00Z',
      call: this.calls.get(id),
      variables: {},
      data: { event_key: `${id}:${event}`, ...data },
    });
    const seconds = Math.floor(Date.now() / 1000);
    const signature = createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex');
    for (let attempt = 1; attempt <= 2; attempt++) {
      const { status } = await fetch(this.webhookUrl, {
        method: 'POST',
        body,
        headers: {
          'content-type': 'application/json',
          'x-minivoice-event-id': `evt_${id}_${event}`,
          'x-minivoice-attempt': String(attempt),
          'x-minivoice-timestamp': String(seconds),
          'x-minivoice-signature': `v1=${signature}`,
        },
      }).catch(() => ({ status: 0 }));
      this.delivered.push(status);
    }
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    if (request.method === 'POST')
      return this.#place(
        request,
        JSON.parse(Buffer.concat(chunks).toString()) as Json & { to: string },
        response,
      );
    this.asked++;
    const call = this.calls.get((request.url ?? '').replace('/v1/calls/', ''));
    reply(
      response,
      call ? 200 : 404,
      call ?? { error: { code: 'call_not_found', message: 'call not found' } },
    );
  }

  async #place(
    { headers }: IncomingMessage,
    body: Json & { to: string },
    response: ServerResponse,
  ): Promise<void> {
    const key = String(headers['idempotency-key']);
    const noted: Placing = {
      to: body.to,
      key,
      body,
      authorization: headers.authorization,
      status: 0,
      replayed: false,
    };
    this.placings.push(noted);
    const kept = this.#kept.get(key);
    if (kept) {
      Object.assign(noted, { status: kept.status, replayed: true });
      return reply(response, kept.status, kept.body, { 'idempotency-replayed': 'true' });
    }
    const answer = this.answers.get(body.to)?.shift() ?? 'call';
    if (answer === 'cut') return void response.destroy();
    if (typeof answer === 'object') {
      const { status, code, retryAfter, details } = answer;
      const error = { error: { code, message: `said ${code}`, ...(details && { details }) } };
      noted.status = status;
      if (status !== 429 && status !== 409) this.#kept.set(key, { status, body: error });
      return reply(
        response,
        status,
        error,
        retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) },
      );
    }
    const id = `call_20260529T120000.${String(this.calls.size + 1).padStart(9, '0')}`;
    const call = {
      id,
      status: 'dialing',
      direction: 'outbound',
      from: body.from,
      to: body.to,
      metadata: { ...(body.metadata as Json), record: true },
    };
    this.calls.set(id, call);
    this.#kept.set(key, { status: 201, body: { ...call } });
    this.most = Math.max(
      this.most,
      [...this.calls.values()].filter(({ status }) => status === 'dialing').length,
    );
    const course = this.courses.get(body.to) ?? { status: 'completed', seconds: 12 };
    if (course.webhooks === 'before') await this.end(id, course);
    noted.status = 201;
    if (answer === 'call') reply(response, 201, { ...call, status: 'dialing' });
    else response.destroy();
    this.onCall(id);
    if (course.webhooks === 'never')
      Object.assign(call, {
        status: course.status,
        billsec_seconds: course.seconds ?? 0,
        cost_amount: '0.50',
        cost_currency: 'EUR',
      });
    else if (course.webhooks === undefined || course.webhooks === 'after') await this.end(id, course);
  }
}

function reply(
  response: ServerResponse,
  status: number,
  body: Json,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}
