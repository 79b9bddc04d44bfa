import { CALL_HEADERS } from '../lib/call-headers.ts';
import { pointsInside, sipHost } from '../lib/sip-uri.ts';
import { ANONYMOUS, type Call } from '../calls/call.ts';
import type { LegRoute } from '../calls/second-legs.ts';
import type { Trunk } from '../trunks/schema.ts';
import type { Directory } from '../directory/directory.ts';
import { writtenFor } from '../trunks/number-format.ts';

/** What of a call says who is calling. */
type Caller = Pick<Call, 'id' | 'direction' | 'from' | 'to'>;

/**
 * Where an outbound call or a second leg goes: to a SIP URI as it is, or to a number through trunks. Kamailio
 * tries the targets one after the other; what differs between their trunks is in headers that are lists
 * beside the targets: `trunks`, `callers`, `identities` and `diversions` of CALL_HEADERS.
 */
export class Legs {
  readonly #directory: Directory;
  readonly #allowPrivate: boolean;
  readonly #random: () => number;

  /** @param options.allowPrivate the development profile: SIP URIs may name private addresses. */
  constructor({
    directory,
    allowPrivate,
    random = Math.random,
  }: {
    directory: Directory;
    allowPrivate: boolean;
    random?: () => number;
  }) {
    this.#directory = directory;
    this.#allowPrivate = allowPrivate;
    this.#random = random;
  }

  /**
   * The active trunks that take a number of this customer's calls, in the order they are to be tried: those
   * known to be down last, the customer's own before the operator's, by priority, and by lot among equals,
   * with their weights.
   * @param trunkId this one alone, if it is there and the customer may use it.
   */
  trunksFor(customerId: string, trunkId?: string): Trunk[] {
    return (
      [...this.#directory.trunks()]
        .filter(
          (trunk) =>
            trunk.isActive &&
            (trunk.customerId === undefined || trunk.customerId === customerId) &&
            (trunkId === undefined || trunk.id === trunkId),
        )
        // The greatest of random^(1/weight) belongs to each with the probability of its weight (Efraimidis
        // and Spirakis).
        .map((trunk) => ({ trunk, lot: this.#random() ** (1 / trunk.weight) }))
        .sort(
          ({ trunk: a, lot: lotOfA }, { trunk: b, lot: lotOfB }) =>
            Number(a.status === 'down') - Number(b.status === 'down') ||
            Number(a.customerId === undefined) - Number(b.customerId === undefined) ||
            a.priority - b.priority ||
            lotOfB - lotOfA,
        )
        .map(({ trunk }) => trunk)
    );
  }

  /**
   * The way of a number through these trunks, in their order. An outbound call shows its own `from`, or the
   * trunk's number; a second leg of an inbound call shows what the trunk's rule says.
   * @param from E.164, named by the customer for this leg: shown instead, except by a trunk that always shows
   * the same number.
   */
  via(trunks: readonly Trunk[], call: Caller, number: string, from?: string): LegRoute {
    const callers = trunks.map((trunk) => callerIdOf(trunk, call, from));
    // A carrier wants to know who asks it to carry a call (RFC 3325), and has nobody else than the customer
    // that was dialled.
    const identities = trunks.map((trunk, index) =>
      call.direction === 'inbound' && callers[index] === ANONYMOUS ? writtenFor(trunk, call.to) : '',
    );
    const diversions = trunks.map((_, index) =>
      call.direction === 'inbound' && callers[index] === call.from ? call.to : '',
    );
    return {
      uris: trunks.map((trunk) => uriOf(trunk, number)),
      from: callers[0] ?? from ?? call.from,
      headers: {
        [CALL_HEADERS.callId]: call.id,
        [CALL_HEADERS.trunks]: trunks.map(({ id }) => id).join('|'),
        ...listed(
          CALL_HEADERS.callers,
          trunks.map((trunk, index) => writtenFor(trunk, shown(callers[index]))),
        ),
        ...listed(CALL_HEADERS.identities, identities),
        // A carrier that is shown a stranger's number is told whose call it is (RFC 5806).
        ...listed(CALL_HEADERS.diversions, diversions),
      },
    };
  }

  /**
   * The way to a SIP URI, which no trunk has a part in.
   * @returns undefined where the address is not public.
   */
  sipUri(call: Caller, uri: string, from?: string): LegRoute | undefined {
    const host = sipHost(uri);
    if (host === undefined || (!this.#allowPrivate && pointsInside(host))) return undefined;
    return { uris: [uri], from: from ?? call.from, headers: { [CALL_HEADERS.callId]: call.id } };
  }
}

/** One element for each trunk; no header where none has any. */
const listed = (name: string, elements: readonly string[]): Record<string, string> =>
  elements.some((element) => element !== '') ? { [name]: elements.join('|') } : {};

function uriOf(trunk: Trunk, number: string): string {
  return `sip:${writtenFor(trunk, number)}@${trunk.proxy}${trunk.port === undefined ? '' : `:${trunk.port}`}${trunk.transport === 'udp' ? '' : `;transport=${trunk.transport}`}`;
}

/**
 * The number a trunk wants to see: the caller's own, the customer's that was dialled, or always the same one.
 */
function callerIdOf(trunk: Trunk, call: Caller, from: string | undefined): string {
  if (trunk.callerId === 'fixed' && trunk.callerIdNumber) return trunk.callerIdNumber;
  if (from !== undefined) return from;
  return trunk.callerId === 'did' && call.direction === 'inbound' ? call.to : call.from;
}

/**
 * A caller who is no number may be called anything: what cannot stand in the list is left as the media node
 * writes it.
 */
const shown = (caller = ''): string => (/^[\w+.-]+$/.test(caller) ? caller : '');
