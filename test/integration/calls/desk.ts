import { expect } from 'chai';
import type { Call } from '../../../control/calls/call.ts';
import type { Customer } from '../../../control/customers/schema.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { formatMicros } from '../../../control/lib/money.ts';
import { PhoneLine } from './media-node.ts';
import { WAITING, type ControlProcess, type Rig } from './rig.ts';

export const NUMBER = '+4915112345678';
export const OTHER = '+4915187654321';
/** What the numbers above cost, and calls to +33…: 0.60 and 0.30 a minute. */
export const RATES = [
  { prefix: '+49' },
  { prefix: '+33', direction: 'inbound', priceMicros: 300_000n },
] as const;

/** Waits until a condition holds; the test's own timeout is its bound. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

export const refusal = (work: Promise<unknown>): Promise<ApiError> =>
  work.then(
    () => expect.fail('it was not refused'),
    (error: unknown) => {
      if (error instanceof ApiError) return error;
      throw error;
    },
  );

/** What tests do with calls, and what they look at. */
export class Desk {
  readonly rig: Rig;

  constructor(rig: Rig) {
    this.rig = rig;
  }

  /** A control process that takes calls. */
  async started(instance: number): Promise<ControlProcess> {
    const process = await this.rig.process(instance);
    await this.rig.pass(4000, [process]);
    return process;
  }

  async money({ id }: Customer): Promise<{ available: string; held: string }> {
    const rows = (await this.rig.db('accounts').where({ customer_id: id })) as {
      kind: string;
      balance_micros: string | number;
    }[];
    const micros = (kind: string): string =>
      formatMicros(BigInt(rows.find((row) => row.kind === kind)?.balance_micros ?? 0));
    return { available: micros('available'), held: micros('held') };
  }

  async holds(
    call: Pick<Call, 'id'>,
  ): Promise<{ leg: number; status: string; billsec: number | null; charged_micros: number | null }[]> {
    return (await this.rig
      .db('holds')
      .where({ call_id: call.id })
      .orderBy('leg')
      .select('leg', 'status', 'billsec', 'charged_micros')) as never;
  }

  lineOf(call: Pick<Call, 'id'>): PhoneLine {
    return (
      this.rig.node.lines.find(({ callId }) => callId === call.id) ?? expect.fail('there is no such channel')
    );
  }

  async expectNothingTaken(process: ControlProcess): Promise<void> {
    const { admission, limits, billing, flows, instance } = process;
    expect({
      admitted: admission.size,
      places: limits.counters,
      flows: flows.size,
      ...billing.counters,
    }).to.deep.equal({
      admitted: 0,
      places: { held: 0, taking: 0, orphans: 0 },
      flows: 0,
      running: 0,
      unsettled: 0,
    });
    expect(await this.rig.redis.hlen(`{limits}:places:${instance}`)).to.equal(0);
  }

  async answeredCall(process: ControlProcess, customer: Customer): Promise<Call> {
    const call = (await process.place(customer, NUMBER)) ?? expect.fail('it died');
    this.lineOf(call).answer();
    await process.quiet();
    return call;
  }

  async bridge(process: ControlProcess, call: Call): Promise<void> {
    await process.flows
      .get(call.id)
      ?.replace(parseActions({ actions: [{ bridge: { destination: OTHER } }, ...WAITING] }));
  }

  /** The second leg of a call has answered. */
  async bridged(process: ControlProcess, call: Call): Promise<PhoneLine> {
    await this.bridge(process, call);
    await process.quiet();
    this.lineOf(call).answerLeg(0);
    await process.quiet();
    return this.lineOf(call);
  }

  /** A call that comes in, to be taken at once. */
  receive(process: ControlProcess, { id: customerId }: Customer, to: string): Call {
    const applicationId = customerId.replace('cust', 'app');
    const call = process.calls.createInbound({
      customerId,
      applicationId,
      from: '+15550000002',
      to,
      routeMode: 'webhook',
      routingTarget: applicationId,
      answerUrl: 'https://example.com/answer',
    });
    process.flows.begin(call);
    process.view.receives(
      new PhoneLine(this.rig.node, 'uuid of a caller', {
        'call-id': call.id,
        owner: String(process.instance),
      }),
    );
    return call;
  }
}
