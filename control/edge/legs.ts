import { isPublicAddress } from '../lib/guarded-fetch.ts';
import { isE164 } from '../lib/e164.ts';
import { sipHost } from '../lib/sip-uri.ts';
import type { Call } from '../calls/call.ts';
import type { LegRequest } from '../media/media.ts';
import type { Trunk } from '../trunks/schema.ts';
import type { Directory } from './directory.ts';
import { isIP } from 'node:net';

export type LegRoute = Pick<LegRequest, 'uris' | 'from' | 'headers'>;

/**
 * Where a second leg goes: a SIP URI as it is, a number through the customer's trunks in their order, its own before the
 * operator's. Rating and limits of the leg belong here, too.
 */
export class Legs {
  readonly #directory: Directory;
  readonly #allowPrivate: boolean;

  /** @param options.allowPrivate the development profile: SIP URIs may name private addresses. */
  constructor({ directory, allowPrivate }: { directory: Directory; allowPrivate: boolean }) {
    this.#directory = directory;
    this.#allowPrivate = allowPrivate;
  }

  /** @returns undefined where there is no way: no trunk that could take the number, or an address that is not public. */
  route(call: Call, destination: string, from: string | undefined): LegRoute | undefined {
    const headers = { 'X-MV-Call-ID': call.id };
    if (!isE164(destination)) {
      const host = sipHost(destination)?.replace(/^\[|\]$/g, '');
      if (host === undefined || (!this.#allowPrivate && isIP(host) !== 0 && !isPublicAddress(host))) return undefined;
      return { uris: [destination], from: from ?? call.from, headers };
    }
    const trunks = [...this.#directory.trunks()]
      .filter((trunk) => trunk.isActive && (trunk.customerId === undefined || trunk.customerId === call.customerId))
      .sort((a, b) => Number(a.customerId === undefined) - Number(b.customerId === undefined) || a.priority - b.priority || b.weight - a.weight);
    const [first] = trunks;
    if (!first) return undefined;
    return { uris: trunks.map((trunk) => uriOf(trunk, destination)), from: from ?? callerIdOf(first, call), headers: { ...headers, ...diversionOf(first, call) } };
  }
}

function uriOf(trunk: Trunk, number: string): string {
  const user = trunk.numberFormat === 'e164' ? number : number.slice(1);
  return `sip:${user}@${trunk.proxy}${trunk.port === undefined ? '' : `:${trunk.port}`}${trunk.transport === 'udp' ? '' : `;transport=${trunk.transport}`}`;
}

/** The number a trunk wants to see: the caller's own, the customer's that was dialled, or always the same one. */
function callerIdOf(trunk: Trunk, call: Call): string {
  if (trunk.callerId === 'fixed' && trunk.callerIdNumber) return trunk.callerIdNumber;
  return trunk.callerId === 'did' ? ownNumber(call) : call.from;
}

/** A carrier that is shown a stranger's number is told whose call it is (RFC 5806). */
const diversionOf = (trunk: Trunk, call: Call): Record<string, string> =>
  trunk.callerId === 'passthrough' && call.direction === 'inbound' ? { Diversion: `<sip:${ownNumber(call)}@minivoice.invalid>;reason=unconditional` } : {};

const ownNumber = (call: Call): string => (call.direction === 'inbound' ? call.to : call.from);
