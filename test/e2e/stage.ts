import { Phone, type Call, type CallOptions } from '../support/phone.ts';
import { carrierAt, sip, tenant, type Tenant } from './platform.ts';

/** The address of a carrier of the operator, and who calls from there. */
export const CARRIER = '127.0.0.2';
export const CALLER = '+15551230001';

const open: { close(): unknown }[] = [];

/** Has something closed after the test; what was opened last goes first. */
export function closing<T extends { close(): unknown }>(thing: T): T {
  open.push(thing);
  return thing;
}

// Of all tests: this is outside of any suite.
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});

/** A customer of this test alone. */
export async function customer(...how: Parameters<typeof tenant>): Promise<Tenant> {
  const made = await tenant(...how);
  closing(made.server);
  return made;
}

/** A telephone of this test alone. */
export async function phoneAt(
  address: string,
  options: Omit<Parameters<typeof Phone.open>[0], 'address'> = {},
): Promise<Phone> {
  return closing(await Phone.open({ address, ...options }));
}

/**
 * What most tests begin with: a customer, and a telephone behind a carrier that calls the customer's number.
 */
export interface Stage {
  own: Tenant;
  phone: Phone;
  /** Calls the customer's number. */
  place(more?: Partial<CallOptions>): Promise<Call>;
  /** The same, with an application that wants these actions; returns when it is answered. */
  dial(actions: unknown[], more?: Partial<CallOptions>): Promise<Call>;
}

/**
 * A new stage, for this test alone.
 * @param how the customer's application and the customer, as for `tenant()`
 */
export async function stage(...how: Parameters<typeof tenant>): Promise<Stage> {
  await carrierAt(CARRIER);
  const own = await customer(...how);
  const phone = await phoneAt(CARRIER);
  const place: Stage['place'] = (more) => phone.call({ to: own.number, from: CALLER, via: sip, ...more });
  return {
    own,
    phone,
    place,
    async dial(actions, more) {
      own.server.answers.set('/answer', actions);
      const call = await place(more);
      await call.answered();
      return call;
    },
  };
}
