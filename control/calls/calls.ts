import type { Knex } from 'knex';
import { deferred, type Deferred } from '../lib/deferred.ts';
import type { Ids } from '../lib/ids.ts';
import type { OutboxRow } from '../webhooks/outbox.ts';
import {
  isTerminal,
  mayBecome,
  type Call,
  type CallStatus,
  type FailureCode,
  type Hangup,
  type RouteMode,
} from './call.ts';
import {
  endData,
  envelope,
  type CallEvent,
  type LegEvent,
  type RecordingEvent,
  type StreamEvent,
} from './events.ts';
import type { FarEnd } from '../lib/far-end.ts';
import type { Change, Journal } from './journal.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { LegSettlement, TimelineEntry } from './store.ts';

export interface NewInboundCall {
  /** Given when a call is rebuilt from what travels with it; else made here. */
  id?: string;
  createdAt?: Date;
  customerId: string;
  applicationId: string | undefined;
  from: string;
  to: string;
  routeMode: RouteMode;
  routingTarget: string;
  answerUrl?: string;
  trunkId?: string;
  sipCallId?: string;
}

export interface NewOutboundCall extends Pick<
  Call,
  | 'id'
  | 'customerId'
  | 'from'
  | 'to'
  | 'answerUrl'
  | 'actions'
  | 'metadata'
  | 'maxDurationSeconds'
  | 'recordFromAnswer'
  | 'trunkId'
> {
  applicationId: string;
  /** The uuid its channel will have. */
  providerCallId: string;
}

/**
 * How a call ended, for `Calls.end`. A failure makes it `failed`; otherwise its status follows from whether
 * it was answered.
 */
export interface CallEnding {
  hangup: Hangup;
  failure?: { code: FailureCode; message: string };
  at?: Date;
  /** The caller had canceled before the answer went out: the call was never answered, and costs nothing. */
  answerTakenBack?: boolean;
}

/** A flow may connect one second leg after the other: the last ones are those that may be up. */
const MOST_FAR_ENDS = 4;

interface CallsOptions {
  ids: Ids;
  journal: Journal;
  /** What follows an answer and an end. */
  lifecycle: Lifecycle;
  /** Whether events of this application are to be sent anywhere. */
  hasWebhook: (applicationId: string) => boolean;
  now?: () => Date;
}

/**
 * The only place where a call changes state, and the only place events come from. The calls in progress are
 * here, in memory; every change goes to the journal with its timeline entry and its event, as one
 * transaction.
 */
export class Calls {
  readonly lifecycle: Lifecycle;
  readonly #live = new Map<string, Call>();
  readonly #ids: Ids;
  readonly #journal: Journal;
  readonly #hasWebhook: (applicationId: string) => boolean;
  readonly #now: () => Date;
  /** Who waits for a change to be in the database. */
  readonly #waiting = new WeakMap<Change, Deferred<void>>();

  constructor({ ids, journal, lifecycle, hasWebhook, now = () => new Date() }: CallsOptions) {
    this.#ids = ids;
    this.#journal = journal;
    this.lifecycle = lifecycle;
    this.#hasWebhook = hasWebhook;
    this.#now = now;
    // An ended call stays readable from memory until its last change is in the database.
    journal.onCommit((stored, refused = new Map()) => {
      for (const change of [...stored, ...refused.keys()])
        if (isTerminal(change.call.status)) this.#live.delete(change.call.id);
      for (const change of stored) this.#waiting.get(change)?.resolve();
      for (const [change, error] of refused) this.#waiting.get(change)?.reject(error);
    });
  }

  /** Whether a new call can be kept: false while the database is away. */
  get accepting(): boolean {
    return this.#journal.accepting;
  }

  /** The calls in progress, and those that ended a moment ago. */
  live(): Call[] {
    return [...this.#live.values()];
  }

  get(id: string): Call | undefined {
    return this.#live.get(id);
  }

  createInbound(input: NewInboundCall, detail: Record<string, unknown> = {}): Call {
    const call: Call = {
      id: input.id ?? this.#ids.next('call'),
      customerId: input.customerId,
      applicationId: input.applicationId,
      direction: 'inbound',
      from: input.from,
      to: input.to,
      routeMode: input.routeMode,
      routingTarget: input.routingTarget,
      answerUrl: input.answerUrl,
      metadata: {},
      trunkId: input.trunkId,
      sipCallId: input.sipCallId,
      createdAt: input.createdAt ?? this.#now(),
      ringingAt: input.createdAt ?? this.#now(),
      status: 'ringing',
      variables: {},
      eventCounts: {},
    };
    this.#live.set(call.id, call);
    this.#record(
      call,
      call.createdAt,
      'call.created',
      { from: call.from, to: call.to, route_mode: call.routeMode, trunk_id: call.trunkId, ...detail },
      {
        name: 'call.created',
        data: {},
      },
    );
    return call;
  }

  /**
   * A call that is about to be placed. It is in the database first, and told of (`created`) once it goes out:
   * until then it can be taken back (`discard`).
   * @returns the call, and a promise that resolves when it is in the database, and fails when it can never be
   */
  createOutbound(input: NewOutboundCall): { call: Call; stored: Promise<void> } {
    const now = this.#now();
    const call: Call = {
      ...input,
      direction: 'outbound',
      routeMode: 'webhook',
      routingTarget: input.applicationId,
      sipCallId: undefined,
      createdAt: now,
      dialingAt: now,
      status: 'dialing',
      variables: {},
      eventCounts: {},
    };
    this.#live.set(call.id, call);
    const detail = { from: call.from, to: call.to, route_mode: call.routeMode, trunk_id: call.trunkId };
    return {
      call,
      stored: this.#stored(this.#record(call, now, 'call.created', detail, undefined, { awaited: true })),
    };
  }

  /**
   * Tells of an outbound call that goes out now. Whatever else is told of a call first has this told before
   * it.
   */
  created(call: Call): void {
    if (call.eventCounts['call.created'] === undefined)
      this.#append(call, call.createdAt, [], { name: 'call.created', data: {} });
  }

  /**
   * An outbound call that nothing was told of has never been: it leaves the database, now or as soon as it
   * can.
   */
  discard(call: Call): void {
    if (isTerminal(call.status)) return;
    call.status = 'failed';
    call.endedAt = this.#now();
    this.#live.delete(call.id);
    this.#journal.append({
      call: { ...call },
      timeline: [],
      outbox: [],
      also: (trx) => this.#journal.forget(trx, call.id),
    });
    this.lifecycle.ended(call);
  }

  /** Takes a call over that another process, or an earlier life of this one, has begun. */
  adopt(call: Call): Call {
    const known = this.#live.get(call.id);
    if (known) return known;
    this.#live.set(call.id, call);
    return call;
  }

  /** The call has a channel on a media node. */
  parked(call: Call, providerCallId: string, mediaNode: string): void {
    if (isTerminal(call.status)) return;
    call.providerCallId = providerCallId;
    call.mediaNode = mediaNode;
    this.#record(call, this.#now(), 'media.parked', { node: mediaNode, provider_call_id: providerCallId });
  }

  /** A media node has taken an outbound call and dials. */
  dialing(call: Call, mediaNode: string): void {
    if (isTerminal(call.status)) return;
    call.mediaNode = mediaNode;
    this.#record(call, this.#now(), 'media.dialing', {
      node: mediaNode,
      provider_call_id: call.providerCallId,
    });
  }

  /**
   * How sides of the call are reached within dialogs that have been answered: stored with what is told of the
   * call next.
   */
  reachable(call: Call, ends: readonly FarEnd[]): void {
    const known = (call.farEnds ?? []).filter(({ sipCallId }) =>
      ends.every((end) => end.sipCallId !== sipCallId),
    );
    if (ends.length > 0) call.farEnds = [...known, ...ends].slice(-MOST_FAR_ENDS);
  }

  /** An outbound call goes over this trunk, which need not be the one that was tried first. */
  routed(call: Call, trunkId: string): void {
    if (call.trunkId === trunkId || isTerminal(call.status)) return;
    const detail = { trunk_id: trunkId, instead_of: call.trunkId };
    call.trunkId = trunkId;
    this.#record(call, this.#now(), 'call.rerouted', detail);
  }

  /** The far end of an outbound call rings. */
  ringing(call: Call): void {
    if (!this.#become(call, 'ringing')) return;
    call.ringingAt = this.#now();
    this.#record(call, call.ringingAt, 'call.ringing', {}, { name: 'call.ringing', data: {} });
  }

  answered(call: Call, at: Date = this.#now()): void {
    if (!this.#become(call, 'in_progress')) return;
    call.answeredAt = at;
    this.#record(call, at, 'call.answered', {}, { name: 'call.answered', data: {} });
    this.lifecycle.answered(call, at);
  }

  /** Ends a call once; whatever comes later is ignored, since a terminal call never changes. */
  end(call: Call, ending: CallEnding): void {
    const answered = call.answeredAt && !ending.answerTakenBack;
    const status: CallStatus = ending.failure ? 'failed' : answered ? 'completed' : 'canceled';
    if (!this.#become(call, status)) return;
    if (!answered) call.answeredAt = undefined;
    const at = ending.at ?? this.#now();
    // The second that had begun counts, also where the node's clock knows of no time between answer and end.
    call.endedAt = call.answeredAt && at <= call.answeredAt ? new Date(call.answeredAt.getTime() + 1) : at;
    call.hangup = ending.hangup;
    call.failure = ending.failure;
    const data = endData(call);
    this.#record(call, call.endedAt, `call.${status}`, data, { name: `call.${status}`, data });
    this.lifecycle.ended(call);
  }

  gathered(call: Call, data: Record<string, unknown>): void {
    this.#record(call, this.#now(), 'call.gathered', data, { name: 'call.gathered', data });
  }

  /**
   * Tells of a recording of this call, which may have ended before (an ended call that is not here any more
   * is adopted first). Resolves when that is in the database.
   * @param also what the recordings room writes in the same transaction; it may run more than once
   */
  recording(
    call: Call,
    event: RecordingEvent,
    data: Record<string, unknown>,
    also?: (trx: Knex.Transaction) => Promise<void>,
  ): Promise<void> {
    return this.#stored(
      this.#record(call, this.#now(), event, data, { name: event, data }, { also, awaited: true }),
    );
  }

  /** Tells of a second leg of this call, which may have ended with the call. */
  leg(call: Call, event: LegEvent, data: Record<string, unknown>): void {
    this.#record(call, this.#now(), event, data, { name: event, data });
  }

  /** Tells of a media stream of this call. */
  stream(call: Call, event: StreamEvent, data: Record<string, unknown>): void {
    this.#record(call, this.#now(), event, data, { name: event, data });
  }

  setVariable(call: Call, name: string, value: string | undefined): void {
    const { [name]: _old, ...others } = call.variables;
    call.variables = value === undefined ? others : { ...others, [name]: value };
    this.#record(call, this.#now(), 'variable.changed', { name, value });
  }

  /** Adds a line to the call's story. */
  note(call: Call, kind: string, detail: Record<string, unknown> = {}, at: Date = this.#now()): void {
    this.#record(call, at, kind, detail);
  }

  /**
   * Adds what a leg has cost to its call, with a line in the timeline, in the transaction that charges it: a
   * cost that is shown has been charged, and the other way round.
   * @returns false when the call is not stored yet
   */
  settled(
    trx: Knex.Transaction,
    leg: { callId: string; leg: number },
    cost: LegSettlement,
  ): Promise<boolean> {
    return this.#journal.settle(trx, leg, cost, { n: this.#ids.number(), at: this.#now() });
  }

  /** Resolves when the change is in the database; fails when the database will never take it. */
  #stored(change: Change): Promise<void> {
    const committed = deferred<void>();
    this.#waiting.set(change, committed);
    return committed.promise;
  }

  #become(call: Call, status: CallStatus): boolean {
    if (!mayBecome(call.status, status)) return false;
    call.status = status;
    return true;
  }

  #record(
    call: Call,
    at: Date,
    kind: string,
    detail: Record<string, unknown>,
    event?: Telling,
    more?: Pick<Change, 'also' | 'awaited'>,
  ): Change {
    if (event && event.name !== 'call.created') this.created(call);
    return this.#append(
      call,
      at,
      [{ callId: call.id, n: this.#ids.number(), at, kind, detail }],
      event,
      more,
    );
  }

  #append(
    call: Call,
    at: Date,
    timeline: TimelineEntry[],
    event?: Telling,
    more?: Pick<Change, 'also' | 'awaited'>,
  ): Change {
    const outbox = event ? this.#outboxOf(call, at, event) : [];
    // A copy: what is committed with an event is the state that the event told of.
    const change: Change = { call: { ...call }, timeline, outbox, ...more };
    this.#journal.append(change);
    return change;
  }

  /** Counts the event, and has it sent where there is somebody to hear it. */
  #outboxOf(call: Call, at: Date, event: Telling): OutboxRow[] {
    const count = (call.eventCounts[event.name] ?? 0) + 1;
    call.eventCounts = { ...call.eventCounts, [event.name]: count };
    if (!call.applicationId) return [];
    const key = `${call.id}:${event.name}${count > 1 ? `:${count}` : ''}`;
    return [
      {
        id: this.#ids.next('whd'),
        eventId: this.#ids.next('evt'),
        event: event.name,
        callId: call.id,
        seq: Object.values(call.eventCounts).reduce((sum, n) => sum + n, 0),
        customerId: call.customerId,
        applicationId: call.applicationId,
        // Without a webhook it is kept all the same, for the live stream.
        status: this.#hasWebhook(call.applicationId) ? 'pending' : 'none',
        body: JSON.stringify(envelope(call, event.name, at, { event_key: key, ...event.data })),
        createdAt: at,
      },
    ];
  }
}

interface Telling {
  name: CallEvent;
  data: Record<string, unknown>;
}
