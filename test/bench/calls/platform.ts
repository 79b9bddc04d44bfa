import { readFile } from 'node:fs/promises';
import { createServer, Agent, request, type Server } from 'node:http';
import { once } from 'node:events';
import { required } from '../edge/subjects.ts';
import { CALLER, CARRIER } from './load.ts';

export const DID = '+493012345701';
export const CALLED = '+4989123456';

interface Status {
  api: string;
  admin_token: string;
  sip: string;
  media: { kind: string };
  rtpengine_ng: string;
  components: { name: string; pid?: number }[];
}

export interface Reply {
  status: number;
  body: Record<string, unknown>;
  ms: number;
}

/**
 * The instance under measurement, with a customer whose calls are answered, hear a prompt, and are hung up.
 */
export class Platform {
  readonly status: Status;
  readonly prompt: string;
  #key = '';
  readonly #server: Server;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 200 });

  private constructor(status: Status, prompt: string, server: Server) {
    this.status = status;
    this.prompt = prompt;
    this.#server = server;
  }

  /** @param prompt path of a WAV file. */
  static async open(prompt: string, carrierPort: number): Promise<Platform> {
    const status = JSON.parse(await readFile(required('MINIVOICE_STATUS'), 'utf8')) as Status;
    const audio = await readFile(prompt);
    const server = createServer({ keepAliveTimeout: 60_000 }, ({ url }, response) => {
      if (url?.startsWith('/prompt.wav'))
        return void response.writeHead(200, { 'content-type': 'audio/wav' }).end(audio);
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ actions: platform.actions }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const platform = new Platform(status, prompt, server);
    await platform.#seed(carrierPort);
    return platform;
  }

  get sipPort(): number {
    return Number(this.status.sip.split(':')[1]);
  }

  get actions(): unknown[] {
    return [{ type: 'play', url: `${this.#url}/prompt.wav` }, { type: 'hangup' }];
  }

  pid(name: string): number {
    return this.status.components.find((component) => component.name === name)?.pid ?? 0;
  }

  /** POST /v1/calls */
  placeCall(): Promise<Reply> {
    return this.#request('POST', '/v1/calls', this.#key, { from: DID, to: CALLED, actions: this.actions });
  }

  /** How many calls ended in which way, and how many have not. */
  async outcomes(direction: 'inbound' | 'outbound'): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (let cursor: unknown = ''; cursor !== undefined;) {
      const { body } = await this.#request(
        'GET',
        `/v1/calls?limit=200&direction=${direction}${cursor ? `&cursor=${encodeURIComponent(String(cursor))}` : ''}`,
        this.#key,
      );
      for (const { status, failure } of body['data'] as { status: string; failure?: { code: string } }[]) {
        const name = failure ? `${status} ${failure.code}` : status;
        counts[name] = (counts[name] ?? 0) + 1;
      }
      cursor = body['next_cursor'];
    }
    return counts;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
  }

  get #url(): string {
    const bound = this.#server.address();
    return `http://127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}`;
  }

  async #seed(carrierPort: number): Promise<void> {
    const admin = async (path: string, body: unknown, method = 'POST'): Promise<Record<string, unknown>> => {
      const reply = await this.#request(method, `/admin/v1${path}`, this.status.admin_token, body);
      if (reply.status >= 300)
        throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
      return reply.body;
    };
    const { id: customer } = await admin('/customers', {
      name: 'Benchmark',
      limits: { cps: 1000, concurrent_calls: 10_000 },
    });
    const application = await admin(`/customers/${String(customer)}/applications`, {
      name: 'Benchmark',
      answer_url: `${this.#url}/answer`,
    });
    this.#key = String(application['api_key']);
    await admin('/trunks', { name: 'caller', proxy: CALLER, inbound_ip: CALLER });
    await admin('/trunks', { name: 'carrier', proxy: CARRIER, port: carrierPort });
    await admin('/dids', {
      number_e164: DID,
      customer_id: customer,
      application_id: application['id'],
      provider: 'bench',
      route_mode: 'webhook',
    });
    await admin('/rates', {
      prefix: '+49',
      direction: 'outbound',
      price_per_minute: '0.01',
      currency: 'EUR',
    });
    await admin(`/customers/${String(customer)}/credits`, { amount: '100000', reference: 'bench' });
  }

  #request(
    method: string,
    path: string,
    key: string,
    body?: unknown,
    from = performance.now(),
  ): Promise<Reply> {
    const text = body === undefined ? '' : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const sent = request(
        this.status.api + path,
        {
          method,
          agent: this.#agent,
          headers: {
            authorization: `Bearer ${key}`,
            ...(text && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response
            .on('data', (chunk: Buffer) => chunks.push(chunk))
            .on('error', reject)
            .on('end', () => {
              const ms = performance.now() - from;
              resolve({
                status: response.statusCode ?? 0,
                body: JSON.parse(Buffer.concat(chunks).toString() || '{}') as Record<string, unknown>,
                ms,
              });
            });
        },
      );
      // A kept connection that the server has just closed is no answer.
      sent
        .on('error', (error) =>
          sent.reusedSocket ? resolve(this.#request(method, path, key, body, from)) : reject(error),
        )
        .end(text);
    });
  }
}
