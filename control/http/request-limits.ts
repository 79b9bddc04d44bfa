import type { IncomingMessage } from 'node:http';
import { ApiError } from '../lib/errors.ts';
import { Buckets } from './buckets.ts';
import { clientAddresses } from './client-address.ts';

export interface RequestLimitsOptions {
  /**
   * Requests a second with one key, and from one address; 0: no limit. Ten seconds' worth may come at once.
   */
  perKey: number;
  perAddress: number;
  /** Whose X-Forwarded-For is believed: addresses and networks. */
  proxies: readonly string[];
  now?: () => number;
}

const AT_ONCE_SECONDS = 10;

/**
 * What clients may ask of the API in a while, in the memory of this process: each of several processes allows
 * as much.
 */
export class RequestLimits {
  readonly addressOf: (request: Pick<IncomingMessage, 'headers' | 'socket'>) => string;
  readonly #keys: Buckets;
  readonly #addresses: Buckets;

  constructor({ perKey, perAddress, proxies, now }: RequestLimitsOptions) {
    this.addressOf = clientAddresses(proxies);
    this.#keys = new Buckets({ perSecond: perKey, atOnce: perKey * AT_ONCE_SECONDS }, { now });
    this.#addresses = new Buckets({ perSecond: perAddress, atOnce: perAddress * AT_ONCE_SECONDS }, { now });
  }

  /** Keys and addresses that are remembered. */
  get size(): number {
    return this.#keys.size + this.#addresses.size;
  }

  /** @throws ApiError rate_limited */
  address(address: string): void {
    refuse(this.#addresses.take(address), 'too many requests from this address');
  }

  /** @param applicationId whose key it is */
  key(applicationId: string): void {
    refuse(this.#keys.take(applicationId), 'too many requests with this key');
  }
}

/** @throws ApiError rate_limited where there is something to wait for */
export function refuse(waitSeconds: number, message: string): void {
  if (waitSeconds > 0) throw new ApiError('rate_limited', message, { retryAfter: waitSeconds });
}
