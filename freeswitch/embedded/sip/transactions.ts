import { randomBytes } from 'node:crypto';
import { ClientTransaction } from './client-transaction.ts';
import { parseCSeq, parseVia, stampVia, type Via } from './fields.ts';
import { InviteTransaction } from './invite-transaction.ts';
import { Headers, makeResponse, type SipMessage, type SipRequest, type SipResponse } from './message.ts';
import { ServerTransaction } from './server-transaction.ts';
import type { SipTimers } from './timers.ts';
import type { Peer, SipTransport } from './transport.ts';
import type { Logger } from '../../../control/lib/logger.ts';

/** More than this many requests at once are answered 503 without being remembered. */
const MAX_TRANSACTIONS = 50_000;

export interface TransactionUser {
  onRequest(transaction: ServerTransaction): void;
  /** An ACK of a 2xx: it is no part of a transaction but of its dialog. */
  onAck(request: SipRequest): void;
  onCancel(cancel: ServerTransaction, invite: ServerTransaction | undefined): void;
}

/** Between the transport and the user agent: matches messages to transactions (RFC 3261 section 17). */
export class Transactions {
  readonly transport: SipTransport;
  readonly timers: SipTimers;
  readonly #log: Logger;
  readonly #servers = new Map<string, ServerTransaction>();
  readonly #clients = new Map<string, ClientTransaction | InviteTransaction>();
  user: TransactionUser = { onRequest: () => {}, onAck: () => {}, onCancel: () => {} };

  constructor(transport: SipTransport, timers: SipTimers, log: Logger) {
    this.transport = transport;
    this.timers = timers;
    this.#log = log;
    transport.onMessage = (message, peer) => this.#onMessage(message, peer);
    transport.onMalformed = (request, status, peer) => {
      const way = wayBack(request, peer);
      // Silence would have a proxy think that nobody is here.
      if (way && request.method !== 'ACK') this.transport.send(makeResponse(request, status), way.replyTo);
    };
  }

  get size(): number {
    return this.#servers.size + this.#clients.size;
  }

  ended(transaction: ServerTransaction): void {
    if (this.#servers.get(transaction.key) === transaction) this.#servers.delete(transaction.key);
  }

  /** Sends a request of ours under a Via of its own. */
  request(
    request: SipRequest,
    peer: Peer,
    onResponse: (response: SipResponse) => void,
    onTimeout: () => void,
  ): void {
    this.#request(request, peer, this.#newBranch(request, peer), onResponse, onTimeout);
  }

  #request(
    request: SipRequest,
    peer: Peer,
    branch: string,
    onResponse: (response: SipResponse) => void,
    onTimeout: () => void,
  ): void {
    const key = `${branch}|${request.method}`;
    this.#clients.set(
      key,
      new ClientTransaction({
        transport: this.transport,
        timers: this.timers,
        request,
        peer,
        onResponse,
        onTimeout,
        onEnd: () => this.#clients.delete(key),
      }),
    );
  }

  /** Sends an INVITE of ours. The refusal is acknowledged here, a 2xx by whoever asked. */
  invite(
    request: SipRequest,
    peer: Peer,
    onResponse: (response: SipResponse) => void,
    onTimeout: () => void,
  ): InviteTransaction {
    const branch = this.#newBranch(request, peer);
    const key = `${branch}|INVITE`;
    const cancel = (): void =>
      this.#request(
        cancelOf(request),
        peer,
        branch,
        () => {},
        () => {},
      );
    const transaction = new InviteTransaction({
      transport: this.transport,
      timers: this.timers,
      request,
      peer,
      onResponse,
      onTimeout,
      cancel,
      onEnd: () => this.#clients.delete(key),
    });
    this.#clients.set(key, transaction);
    return transaction;
  }

  /** Sends the ACK of a 2xx: it has a Via of its own, and no answer. */
  acknowledge(ack: SipRequest, peer: Peer): void {
    this.#newBranch(ack, peer);
    this.transport.send(ack, peer);
  }

  #newBranch(request: SipRequest, peer: Peer): string {
    const branch = `z9hG4bK${randomBytes(12).toString('hex')}`;
    const via = `SIP/2.0/${peer.transport.toUpperCase()} ${this.transport.ip}:${this.transport.port};rport;branch=${branch}`;
    request.headers.list.unshift({ name: 'Via', key: 'via', value: via });
    return branch;
  }

  /** Our own requests that still wait for an answer. */
  get pendingRequests(): number {
    let count = 0;
    for (const transaction of this.#clients.values()) if (transaction.pending) count++;
    return count;
  }

  stop(): void {
    for (const transaction of this.#servers.values()) transaction.stop();
    for (const transaction of this.#clients.values()) transaction.stop();
    this.#servers.clear();
    this.#clients.clear();
  }

  #onMessage(message: SipMessage, peer: Peer): void {
    if (message.kind === 'response') {
      const via = parseVia(message.headers.get('via') ?? '');
      const method = parseCSeq(message.headers.get('cseq'))?.method ?? '';
      this.#clients.get(`${via?.params.branch ?? ''}|${method}`)?.received(message);
      return;
    }
    this.#onRequest(message, peer);
  }

  #onRequest(request: SipRequest, peer: Peer): void {
    const way = wayBack(request, peer);
    // Without a Via there is nowhere an answer could go.
    if (!way) return;
    const { via, replyTo } = way;

    const cseq = parseCSeq(request.headers.get('cseq'));
    const { headers } = request;
    if (
      !cseq ||
      cseq.method !== request.method ||
      !headers.get('call-id') ||
      !headers.get('from') ||
      !headers.get('to')
    ) {
      if (request.method !== 'ACK') this.transport.send(makeResponse(request, 400), replyTo);
      return;
    }

    const branch = via.params.branch ?? '';
    // Without the magic cookie the branch is not unique: an RFC 2543 peer is told apart by the rest (section
    // 17.2.3).
    const base = branch.startsWith('z9hG4bK')
      ? `${branch}|${via.host}:${via.port ?? ''}`
      : `${headers.get('call-id')}|${headers.get('from')}|${cseq.number}|${request.uri}|${via.host}`;
    const invite = this.#servers.get(`${base}|INVITE`);
    if (request.method === 'ACK') {
      // The ACK of a refusal belongs to the transaction; that of a 2xx has a branch of its own.
      if (invite && (invite.finalStatus ?? 0) >= 300) invite.acknowledged();
      else this.user.onAck(request);
      return;
    }
    const key = `${base}|${request.method}`;
    const known = this.#servers.get(key);
    if (known) {
      known.retransmitted();
      return;
    }
    const transaction = new ServerTransaction(key, request, peer, replyTo, this);
    if (this.#servers.size >= MAX_TRANSACTIONS) {
      this.#log.warn('too many SIP transactions');
      this.transport.send(makeResponse(request, 503), replyTo);
      return;
    }
    this.#servers.set(key, transaction);
    if (request.method === 'CANCEL') this.user.onCancel(transaction, invite);
    else this.user.onRequest(transaction);
  }
}

/**
 * The topmost Via of a request, where an answer goes to by it (RFC 3261 section 18.2.2); it is stamped with
 * the source.
 */
function wayBack(request: SipRequest, peer: Peer): { via: Via; replyTo: Peer } | undefined {
  const top = request.headers.list.find((h) => h.key === 'via');
  const via = top && parseVia(top.value);
  if (!top || !via) return undefined;
  top.value = stampVia(top.value, peer.address, peer.port);
  const port = 'rport' in via.params ? peer.port : (via.port ?? 5060);
  return {
    via,
    replyTo: peer.transport === 'tcp' ? peer : { transport: 'udp', address: peer.address, port },
  };
}

/** The CANCEL of an INVITE: the same call, number and Via (RFC 3261 section 9.1). */
function cancelOf(invite: SipRequest): SipRequest {
  const headers = new Headers();
  for (const { name, key, value } of invite.headers.list) {
    if (key === 'cseq') headers.add(name, value.replace('INVITE', 'CANCEL'));
    else if (['via', 'route', 'max-forwards', 'from', 'to', 'call-id'].includes(key))
      headers.add(name, value);
  }
  return { kind: 'request', method: 'CANCEL', uri: invite.uri, headers, body: Buffer.alloc(0) };
}
