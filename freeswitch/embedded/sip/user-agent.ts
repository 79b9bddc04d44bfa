import { randomBytes } from 'node:crypto';
import type { Logger } from '../../../control/lib/logger.ts';
import type { AccessList } from '../access-list.ts';
import { Dialog } from './dialog.ts';
import { asksTooShort, MIN_SESSION_EXPIRES } from './session-expires.ts';
import { parseCSeq, parseNameAddr, parseUri } from './fields.ts';
import { makeResponse, type SipRequest, type SipResponse } from './message.ts';
import type { ServerTransaction } from './server-transaction.ts';
import type { TransactionUser, Transactions } from './transactions.ts';

export const ALLOW = 'INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE';
const SUPPORTED = 'timer';
const EXTENSIONS = new Set(['timer']);
/** Methods SIP knows and this node does not serve: 405. Anything else is 501. */
const KNOWN = new Set(['REGISTER', 'SUBSCRIBE', 'NOTIFY', 'PUBLISH', 'MESSAGE', 'REFER', 'PRACK']);

/**
 * The extensions a request insists on that are not known here (RFC 3261 section 8.2.2.3: 420 with
 * Unsupported).
 */
export const unsupportedOf = ({ headers }: SipRequest): string[] =>
  headers
    .all('require')
    .join(',')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name && !EXTENSIONS.has(name.toLowerCase()));

/** One end of a call, as the user agent sees it. */
export interface CallLeg {
  readonly dialog: Dialog;
  onRequest(transaction: ServerTransaction): void;
  onAck(request: SipRequest): void;
}

/** One that came in. */
export interface CalledLeg extends CallLeg {
  readonly invite: ServerTransaction;
  onCancel(cancel: SipRequest): void;
}

export interface ReplyOptions {
  toTag?: string;
  reason?: string;
  /** Makes it a reply that sets up or confirms a dialog: with Contact and Record-Route. */
  contact?: string;
  sdp?: string;
  headers?: readonly (readonly [string, string])[];
}

/**
 * The SIP side of the node outside of calls: who may talk, which request belongs to which call, what is
 * refused.
 */
export class UserAgent implements TransactionUser {
  readonly transactions: Transactions;
  readonly #allow: AccessList;
  readonly #log: Logger;
  readonly #legs = new Map<string, CallLeg>();
  /** Invites that are being worked on, by Call-ID and From tag: the same one by another way is merged. */
  readonly #pending = new Map<string, CalledLeg>();
  /** A new call. */
  onInvite: (transaction: ServerTransaction) => void = () => {};
  /** Whether a new call could be taken now: what OPTIONS tells. */
  hasRoom: () => boolean = () => true;

  constructor(transactions: Transactions, allow: AccessList, log: Logger) {
    this.transactions = transactions;
    this.#allow = allow;
    this.#log = log;
    transactions.user = this;
  }

  newTag(): string {
    return randomBytes(8).toString('hex');
  }

  add(leg: CallLeg): void {
    this.#legs.set(leg.dialog.key, leg);
  }

  remove(leg: CallLeg): void {
    this.#legs.delete(leg.dialog.key);
  }

  /** The invite of this leg has no final answer yet. */
  pending(leg: CalledLeg): void {
    this.#pending.set(inviteKey(leg.invite.request), leg);
  }

  settled(leg: CalledLeg): void {
    this.#pending.delete(inviteKey(leg.invite.request));
  }

  /** Contact of this node for a dialog: the user part the caller asked for, at our address. */
  contactFor(request: SipRequest, transport: string): string {
    const user = /^sips?:([^@;?]*)@/i.exec(request.uri)?.[1];
    const { ip, port } = this.transactions.transport;
    return `<sip:${user ? `${user}@` : ''}${ip}:${port};transport=${transport}>`;
  }

  reply(transaction: ServerTransaction, status: number, options: ReplyOptions = {}): void {
    transaction.respond(this.makeReply(transaction.request, status, options));
  }

  makeReply(request: SipRequest, status: number, options: ReplyOptions): SipResponse {
    const response = makeResponse(request, status, { toTag: options.toTag, reason: options.reason });
    const { headers } = response;
    if (options.contact) {
      for (const route of request.headers.all('record-route')) headers.add('Record-Route', route);
      headers.add('Contact', options.contact);
    }
    headers.add('User-Agent', 'MiniVoice');
    if (status > 100) headers.add('Allow', ALLOW);
    if (status > 100 && status < 300) headers.add('Supported', SUPPORTED);
    for (const [name, value] of options.headers ?? []) headers.add(name, value);
    if (options.sdp) {
      headers.add('Content-Type', 'application/sdp').add('Content-Disposition', 'session');
      response.body = Buffer.from(options.sdp, 'latin1');
    }
    return response;
  }

  onRequest(transaction: ServerTransaction): void {
    const { request, source } = transaction;
    try {
      const { headers } = request;
      const toTag = parseNameAddr(headers.get('to') ?? '')?.params.tag;
      if (toTag) {
        const fromTag = parseNameAddr(headers.get('from') ?? '')?.params.tag ?? '';
        const leg = this.#legs.get(Dialog.key(headers.get('call-id') ?? '', toTag, fromTag));
        if (leg) leg.onRequest(transaction);
        else this.reply(transaction, 481);
        return;
      }
      if (!this.#allow.allows(source.address)) {
        this.#log.info(
          { from: source.address, method: request.method },
          'SIP request refused by the access list',
        );
        this.reply(transaction, 403, { toTag: this.newTag() });
        return;
      }
      this.#outOfDialog(transaction);
    } catch (error) {
      this.#log.error({ err: error, method: request.method }, 'SIP request failed');
      this.reply(transaction, 500, { toTag: this.newTag() });
    }
  }

  #outOfDialog(transaction: ServerTransaction): void {
    const { request } = transaction;
    const { headers, method } = request;
    const refuse = (status: number, more: ReplyOptions['headers'] = []): void =>
      this.reply(transaction, status, { toTag: this.newTag(), headers: more });
    if (!parseUri(request.uri)) return refuse(400);
    if (method === 'OPTIONS') {
      if (this.hasRoom()) return refuse(200, [['Accept', 'application/sdp']]);
      return this.reply(transaction, 503, {
        toTag: this.newTag(),
        reason: 'Maximum Calls In Progress',
        headers: [['Retry-After', '300']],
      });
    }
    if (method === 'INVITE') {
      const unknown = unsupportedOf(request);
      if (unknown.length > 0) return refuse(420, [['Unsupported', unknown.join(', ')]]);
      if (!parseNameAddr(headers.get('from') ?? '')?.params.tag || !parseNameAddr(headers.get('to') ?? ''))
        return refuse(400);
      if (!parseUri(parseNameAddr(headers.get('contact') ?? '')?.uri ?? '')) return refuse(400);
      if (this.#pending.has(inviteKey(request))) return refuse(482);
      if (asksTooShort(request)) return refuse(422, [['Min-SE', String(MIN_SESSION_EXPIRES)]]);
      return this.onInvite(transaction);
    }
    if (method === 'BYE' || method === 'INFO' || method === 'UPDATE') return refuse(481);
    return refuse(KNOWN.has(method) ? 405 : 501);
  }

  onAck(request: SipRequest): void {
    const toTag = parseNameAddr(request.headers.get('to') ?? '')?.params.tag ?? '';
    const fromTag = parseNameAddr(request.headers.get('from') ?? '')?.params.tag ?? '';
    this.#legs.get(Dialog.key(request.headers.get('call-id') ?? '', toTag, fromTag))?.onAck(request);
  }

  onCancel(cancel: ServerTransaction, invite: ServerTransaction | undefined): void {
    const leg = invite && this.#pending.get(inviteKey(invite.request));
    if (!invite) {
      this.reply(cancel, 481, { toTag: this.newTag() });
      return;
    }
    this.reply(cancel, 200, { toTag: leg?.dialog.localTag ?? this.newTag() });
    // Once answered, it is too late to cancel (section 9.2).
    if (leg && leg.invite === invite && !invite.answered) leg.onCancel(cancel.request);
  }
}

function inviteKey(request: SipRequest): string {
  const { headers } = request;
  return `${headers.get('call-id')}|${parseNameAddr(headers.get('from') ?? '')?.params.tag ?? ''}|${parseCSeq(headers.get('cseq'))?.number ?? ''}`;
}
