import { expect } from 'chai';
import { Phone, type Manner } from '../support/phone.ts';
import {
  api,
  done,
  freshNumber,
  listed,
  tenant,
  until,
  type ApiReply,
  type CustomerServer,
  type Json,
  type Tenant,
} from './platform.ts';
import type { SecondControl } from './second-control.ts';

export const FROM = '+15551230001';

export interface CallRecord extends Json {
  id: string;
  to: string;
  status: string;
  hangup: Json;
  failure?: Json;
}

export interface Price {
  price_per_minute: string;
  connection_fee?: string;
  minimum_seconds?: number;
  increment_seconds?: number;
}

/** An amount of the API in micro-units. */
export function micros(amount: unknown): bigint {
  const [whole = '', fraction = ''] = String(amount).split('.');
  return BigInt(whole + fraction.padEnd(6, '0'));
}

/**
 * What an answered call costs, from the contract alone: fee + ⌈max(billsec, minimum)/increment⌉ · increment ·
 * price/60, rounded up to a micro-unit.
 */
export function charge(
  { price_per_minute, connection_fee = '0', minimum_seconds = 0, increment_seconds = 1 }: Price,
  billsec: unknown,
): bigint {
  const seconds = BigInt(
    Math.ceil(Math.max(Number(billsec), minimum_seconds) / increment_seconds) * increment_seconds,
  );
  return micros(connection_fee) + (micros(price_per_minute) * seconds + 59n) / 60n;
}

interface Options {
  /** What it has paid in; `0` for nothing. */
  credit?: string;
  /** What its calls to `+1` cost. */
  price?: Price;
  /** What its carrier does with calls. */
  manner?: Manner;
  customer?: Json;
  application?: Json;
  trunk?: Json;
  /** The control process its calls are placed at. */
  at?: SecondControl | undefined;
}

/**
 * A customer that places calls: with a balance, prices and a carrier of its own, so that every micro-unit can
 * be told where it went.
 */
export class Payer {
  readonly key: string;
  readonly customerId: string;
  readonly applicationId: string;
  readonly server: CustomerServer;
  /** A number of its own, for calls that come in. */
  readonly number: string;
  readonly didId: string;
  readonly carrier: Phone;
  trunkId = '';
  readonly #at: SecondControl | undefined;
  readonly #phones: Phone[];

  private constructor(own: Tenant, carrier: Phone, at: SecondControl | undefined) {
    ({
      key: this.key,
      customerId: this.customerId,
      applicationId: this.applicationId,
      server: this.server,
      number: this.number,
      didId: this.didId,
    } = own);
    this.carrier = carrier;
    this.#phones = [carrier];
    this.#at = at;
  }

  static async open({
    credit = '10.00',
    price = { price_per_minute: '0.60' },
    manner = 'manual',
    customer = {},
    application = {},
    trunk = {},
    at,
  }: Options = {}): Promise<Payer> {
    const carrier = await Phone.open({ address: '127.0.0.3' });
    carrier.listen(manner);
    const payer = new Payer(await tenant(application, { credit: '0', ...customer }), carrier, at);
    await payer.rate({ prefix: '+1', ...price });
    payer.trunkId = await payer.trunk(carrier, trunk);
    // Another process hears of all this a moment later. It knows everything when money alone is missing.
    if (at)
      await until(
        async () => (await payer.post()).status === 402,
        `control process ${at.number} to know the customer`,
      );
    if (credit !== '0') await payer.credit(credit);
    return payer;
  }

  credit(amount: string): Promise<Json> {
    return done('POST', `/admin/v1/customers/${this.customerId}/credits`, { amount });
  }

  rate(rate: Json | (Price & { prefix: string })): Promise<Json> {
    return done('POST', '/admin/v1/rates', { customer_id: this.customerId, ...rate });
  }

  /** One more carrier; it is closed with the others. */
  async another(
    address: string,
    manner: Manner,
    trunk: Json = {},
  ): Promise<{ phone: Phone; trunkId: string }> {
    const phone = await Phone.open({ address });
    phone.listen(manner);
    this.#phones.push(phone);
    return { phone, trunkId: await this.trunk(phone, trunk) };
  }

  async trunk({ address, port }: Phone, more: Json = {}): Promise<string> {
    return String(
      (
        await done(
          'POST',
          '/v1/trunks',
          { name: 'out', proxy: address, port, probe: false, ...more },
          this.key,
        )
      ).id,
    );
  }

  /** Asks for a call, to a number nobody else calls; the answer may be any. */
  post(
    fields: Json = {},
    { at = this.#at, headers }: { at?: SecondControl | undefined; headers?: Record<string, string> } = {},
  ): Promise<ApiReply> {
    return api(
      'POST',
      '/v1/calls',
      { from: FROM, to: freshNumber(), ...fields },
      this.key,
      at?.base,
      headers,
    );
  }

  /** The same, and anything but a call is an error of the test. */
  async place(fields: Json = {}): Promise<CallRecord> {
    const reply = await this.post(fields);
    expect(reply.status, JSON.stringify(reply.body)).to.equal(201);
    return reply.body as CallRecord;
  }

  hangUp(id: string): Promise<ApiReply> {
    return api('POST', `/v1/calls/${id}/hangup`, {}, this.key, this.#at?.base);
  }

  async show(id: string): Promise<CallRecord> {
    return (await done('GET', `/v1/calls/${id}`, undefined, this.key)) as CallRecord;
  }

  /** Its calls, newest first. */
  async calls(query = ''): Promise<CallRecord[]> {
    return (await done('GET', `/v1/calls?limit=200${query}`, undefined, this.key)).data as CallRecord[];
  }

  async when(id: string, status: string): Promise<CallRecord> {
    return until(async () => {
      const call = await this.show(id);
      return call.status === status && call;
    }, `the call to be ${status}`);
  }

  async ended(id: string, timeoutMs?: number): Promise<CallRecord> {
    return until(
      async () => {
        const call = await this.show(id);
        return call.ended_at !== undefined && call;
      },
      `the end of ${id}`,
      timeoutMs,
    );
  }

  /** The same once its cost is known. */
  async settled(id: string, timeoutMs?: number): Promise<CallRecord> {
    return until(
      async () => {
        const call = await this.show(id);
        return call.cost_amount !== undefined && call.ended_at !== undefined && call;
      },
      `${id} to be settled`,
      timeoutMs,
    );
  }

  async balance(): Promise<{ available: bigint; held: bigint; json: Json }> {
    const json = await done('GET', '/v1/balance', undefined, this.key);
    return { available: micros(json.available_amount), held: micros(json.held_amount), json };
  }

  /**
   * Waits until nothing is held, and goes through all movements of money: each leg's hold was resolved once
   * and whole, and what there is is what they make it.
   * @returns what is available, what was paid, and by which leg (`call/0`, `call/1`, …)
   */
  async books(
    timeoutMs = 15_000,
  ): Promise<{ available: bigint; revenue: bigint; legs: Record<string, bigint> }> {
    await until(
      async () => (await this.balance()).held === 0n,
      `nothing of ${this.customerId} to be held`,
      timeoutMs,
    );
    const transfers = await listed(`/admin/v1/customers/${this.customerId}/ledger`);
    const accounts: Record<string, bigint> = { top_up: 0n, available: 0n, held: 0n, revenue: 0n };
    const legs: Record<string, bigint> = {};
    const held: Record<string, bigint> = {};
    for (const { kind, debit, credit, amount, call_id, leg } of transfers) {
      accounts[String(debit)] = (accounts[String(debit)] ?? 0n) - micros(amount);
      accounts[String(credit)] = (accounts[String(credit)] ?? 0n) + micros(amount);
      if (call_id === undefined) continue;
      const name = `${String(call_id)}/${String(leg)}`;
      held[name] =
        (held[name] ?? 0n) +
        (credit === 'held' ? micros(amount) : 0n) -
        (debit === 'held' ? micros(amount) : 0n);
      legs[name] = (legs[name] ?? 0n) + (kind === 'settle' ? micros(amount) : 0n);
    }
    const { available } = await this.balance();
    expect(accounts).to.include({ available, held: 0n });
    expect(
      Object.values(accounts).reduce((sum, one) => sum + one, 0n),
      'the sum of all accounts',
    ).to.equal(0n);
    expect(
      Object.entries(held).filter(([, left]) => left !== 0n),
      'legs of which something stays held',
    ).to.be.empty;
    for (const name of Object.keys(legs)) {
      const of = (which: string): number =>
        transfers.filter(
          ({ kind, call_id, leg }) => kind === which && `${String(call_id)}/${String(leg)}` === name,
        ).length;
      expect([of('hold'), of('release') <= 1], `the movements of ${name}`).to.deep.equal([1, true]);
    }
    return { available, revenue: accounts.revenue ?? 0n, legs };
  }

  /** Ends what is left of its calls, and checks its books. */
  async close(): Promise<void> {
    for (const phone of this.#phones) await phone.close();
    for (const { id, ended_at } of await this.calls()) if (ended_at === undefined) await this.hangUp(id);
    await this.books(30_000).finally(() => this.server.close());
  }
}

/** The code of a refusal, with its status. */
export const refusalOf = ({ status, body }: ApiReply): [number, unknown] => [
  status,
  (body.error as Json | undefined)?.code,
];
