import { createHash, timingSafeEqual } from 'node:crypto';
import type { Change } from '../lib/changes.ts';
import { ApiError } from '../lib/errors.ts';
import { within } from '../lib/within.ts';
import { hashApiKey, isApiKey } from './api-key.ts';
import { Buckets } from './buckets.ts';
import { refuse } from './request-limits.ts';
import type { Caller, CustomerCaller, Endpoint } from './endpoint.ts';

/** Whom a key stands for, as the applications room answers it. */
export interface KeyOwner extends Omit<CustomerCaller, 'kind'> {
  /** When the key stops working, of a key that was rotated away. */
  expiresAt: Date | undefined;
}

export interface Authenticator {
  /**
   * The caller behind an Authorization header.
   * @param address who asks: an address that tries many wrong keys is not listened to for a while, unless
   * with one that is known
   * @throws ApiError `unauthorized`, `rate_limited`
   */
  authenticate(kind: Endpoint['auth'], header: string | undefined, address?: string): Promise<Caller>;
  /**
   * Drops what is remembered of the keys of the customer or application that has changed; without one, of all
   * keys.
   */
  forget(change?: Change): void;
  /** How many keys are remembered. */
  readonly size: number;
  /** How many addresses are remembered that have tried wrong ones. */
  readonly guessers: number;
}

// A key that another instance has taken away goes on working here for this long.
const REMEMBERED_MS = 5000;
/**
 * While the database does not answer, a key that was good before stays so for so long, unless something has
 * been told to have changed: who has a call in progress must be able to hang it up then.
 */
const OUTAGE_MS = 3600_000;
/**
 * A look-up of a key that was good before holds up its request no longer than this; the next one is made
 * after the same time again.
 */
const RECHECK_MS = 1000;
const MOST_REMEMBERED = 10_000;
/** Wrong keys from one address: so many at once, and then one every two seconds. */
const WRONG_KEYS = { perSecond: 0.5, atOnce: 30 };
/** How long the database may take to find a key: one that hangs is as good as away. */
const PATIENCE_MS = 5000;

/** What is remembered of a key. */
interface Known {
  owner: Promise<KeyOwner | undefined>;
  /** From then on it is asked for again. */
  until: number;
  /** What the database has said last. */
  good: { owner: KeyOwner; since: number } | undefined;
}

/**
 * @param findKey looks a key up by its SHA-256 in hex
 * @param now milliseconds since the epoch
 */
export function createAuthenticator(
  adminToken: string,
  findKey: (keyHash: string) => Promise<KeyOwner | undefined>,
  now: () => number = Date.now,
): Authenticator {
  const known = new Map<string, Known>();
  const adminDigest = digest(adminToken);
  const wrong = new Buckets(WRONG_KEYS, { now });

  // Requests of one key that come together share one look-up. Only good keys stay, so that guesses take no
  // room.
  function lookUp(keyHash: string): Promise<KeyOwner | undefined> {
    const entry = known.get(keyHash);
    if (entry && entry.until > now()) return entry.owner;
    known.delete(keyHash);
    const [oldest] = known.size >= MOST_REMEMBERED ? known.keys() : [];
    if (oldest !== undefined) known.delete(oldest);
    const asked = within(PATIENCE_MS, findKey(keyHash));
    const good = entry?.good && now() - entry.good.since < OUTAGE_MS ? entry.good : undefined;
    const fresh: Known = { owner: asked, until: now() + REMEMBERED_MS, good };
    if (good) {
      fresh.owner = within(RECHECK_MS, asked).catch(() => {
        fresh.until = now() + RECHECK_MS;
        return good.owner;
      });
    }
    known.set(keyHash, fresh);
    const drop = (): void => {
      if (known.get(keyHash) === fresh) known.delete(keyHash);
    };
    asked.then(
      (owner) => {
        if (!owner) return drop();
        fresh.good = { owner, since: now() };
      },
      () => {
        if (!good) drop();
      },
    );
    return fresh.owner;
  }

  async function customer(key: string): Promise<CustomerCaller | undefined> {
    // A key is found by its hash, which tells a guesser's clock nothing about the key.
    const owner = isApiKey(key) ? await lookUp(hashApiKey(key)) : undefined;
    if (!owner || (owner.expiresAt && owner.expiresAt.getTime() <= now())) return undefined;
    const { applicationId, applicationStatus, customerId, customerStatus } = owner;
    return { kind: 'customer', applicationId, applicationStatus, customerId, customerStatus };
  }

  async function callerOf(kind: 'customer' | 'operator', token: string): Promise<Caller> {
    if (kind === 'operator')
      return timingSafeEqual(digest(token), adminDigest) ? { kind: 'operator' } : undefined;
    return customer(token);
  }

  return {
    async authenticate(kind, header, address) {
      if (kind === 'none') return undefined;
      const token = /^Bearer +([^\s]+) *$/i.exec(header ?? '')?.[1] ?? '';
      const wait = address === undefined ? 0 : wrong.wait(address);
      // Who asks with a good key is not to suffer from what others at the same address try, and no guess
      // costs a look-up.
      const listened = wait === 0 || kind === 'operator' || known.has(hashApiKey(token));
      const caller = listened ? await callerOf(kind, token) : undefined;
      if (caller) return caller;
      if (address !== undefined) wrong.take(address);
      refuse(wait, 'too many wrong keys from this address');
      throw new ApiError(
        'unauthorized',
        kind === 'operator' ? 'the operator token is missing or not valid' : undefined,
      );
    },
    get guessers() {
      return wrong.size;
    },
    forget(change) {
      if (change && change.room !== 'customers' && change.room !== 'applications') return;
      for (const [keyHash, { good }] of known) {
        if (!change || !good || good.owner.customerId === change.id || good.owner.applicationId === change.id)
          known.delete(keyHash);
      }
    },
    get size() {
      return known.size;
    },
  };
}

/**
 * Whether the caller may do this now. Reading stays possible for a suspended customer, who needs to see what
 * happened and what is missing. The key of a disabled application opens nothing: an application is disabled
 * because its key has got about, and neither may that key undo it, nor read what others are doing, nor take a
 * sibling's key.
 * @throws ApiError `customer_suspended`, `application_disabled`
 */
export function refuseInactive(
  endpoint: Pick<Endpoint, 'method' | 'allowSuspendedCustomer'>,
  caller: Caller,
): void {
  if (caller?.kind !== 'customer') return;
  if (caller.applicationStatus === 'disabled') throw new ApiError('application_disabled');
  if (endpoint.method !== 'get' && caller.customerStatus === 'suspended' && !endpoint.allowSuspendedCustomer)
    throw new ApiError('customer_suspended');
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
