/**
 * The protocol of the `X-MV-*` headers: what Kamailio, the media nodes and the control plane tell each other
 * of a call. It travels with the call's own SIP messages, so that a call can be rebuilt by a process that has
 * never seen it. Kamailio's routes, the dialplan and the embedded node write the names out; a test
 * (call-headers.test.ts) holds them to this list.
 */
export const CALL_HEADERS = {
  callId: 'X-MV-Call-ID',
  /** The number of the control process that drives the call. */
  owner: 'X-MV-Owner',
  /** `outbound` on calls that were placed; nothing on those that were taken. */
  direction: 'X-MV-Direction',
  customer: 'X-MV-Customer',
  application: 'X-MV-Application',
  from: 'X-MV-From',
  to: 'X-MV-To',
  /** An inbound call's trunk; in a reply, the trunk that an outbound one goes over. */
  trunk: 'X-MV-Trunk',
  /** When the call began, ISO 8601. */
  created: 'X-MV-Created',
  /** SIP URIs, `|` between them. Kamailio tries them one after the other. */
  targets: 'X-MV-Targets',
  /** Lists beside `targets`, with one element each: the trunk's id. */
  trunks: 'X-MV-Trunks',
  /** The calling number as the trunk wants it written, or `anonymous`. */
  callers: 'X-MV-Callers',
  /** The customer's number that is asserted for an anonymous caller (RFC 3325). */
  identities: 'X-MV-Identities',
  /** The number that has diverted the call, or nothing (RFC 5806). */
  diversions: 'X-MV-Diversions',
  /** The media node, `host:port`, that holds a conference room. */
  node: 'X-MV-Node',
  room: 'X-MV-Room',
  /** `mute`, `endconf` or both, `|` between them. */
  roomFlags: 'X-MV-Room-Flags',
  /** How the far end is reached without the media node: its Contact and route set. */
  farEnd: 'X-MV-Far-End',
  /** The SIP code of the far end, where Kamailio replies with another one. */
  answered: 'X-MV-Answered',
  /** Of HTTP requests between Kamailio and the control plane: the shared secret. */
  edgeToken: 'X-MV-Edge-Token',
  /** An OPTIONS that Kamailio was told to send to itself, to see whether a side is there. */
  probe: 'X-MV-Probe',
} as const;

export type CallHeader = keyof typeof CALL_HEADERS;

/**
 * Who may write a header: a route decision (Kamailio puts it on the INVITE to a media node), a media node on
 * the INVITE of a leg that it was told to dial, Kamailio itself, or the control plane in a request to
 * Kamailio that is no call. From anybody else Kamailio removes every `X-MV-*` header.
 */
export type HeaderWriter = 'decision' | 'dial' | 'kamailio' | 'control';

export const WRITERS: Readonly<Record<CallHeader, readonly HeaderWriter[]>> = {
  callId: ['decision', 'dial'],
  owner: ['decision', 'dial'],
  direction: ['dial'],
  customer: ['decision'],
  application: ['decision'],
  from: ['decision'],
  to: ['decision'],
  trunk: ['decision', 'kamailio'],
  created: ['decision'],
  targets: ['dial'],
  trunks: ['dial'],
  callers: ['dial'],
  identities: ['dial'],
  diversions: ['dial'],
  node: ['dial'],
  room: ['dial', 'kamailio'],
  roomFlags: ['dial', 'kamailio'],
  farEnd: ['kamailio'],
  answered: ['kamailio'],
  edgeToken: ['kamailio'],
  probe: ['control'],
};

const PREFIX = 'X-MV-';

type ShortName<Name> = Name extends `X-MV-${infer Short}` ? Lowercase<Short> : never;

/** The headers that a channel's INVITE has, names in lower case without the prefix: `call-id`, `from`, … */
export type CallHeaders = Readonly<Partial<Record<ShortName<(typeof CALL_HEADERS)[CallHeader]>, string>>>;

/**
 * The headers of the protocol among these, or undefined where there is no call id among them.
 * @param headers names with their prefix and values; others are passed over
 */
export function readCallHeaders(headers: Iterable<readonly [string, string]>): CallHeaders | undefined {
  const found: Record<string, string> = {};
  for (const [name, value] of headers)
    if (name.startsWith(PREFIX)) found[name.slice(PREFIX.length).toLowerCase()] = value;
  const read: CallHeaders = found;
  return read['call-id'] ? read : undefined;
}

/** What of an inbound call travels with its INVITE to the media node. */
export interface CarriedCall {
  id: string;
  customerId: string;
  applicationId: string;
  from: string;
  to: string;
  trunkId: string | undefined;
  createdAt: Date;
}

/**
 * The lines that a route decision has Kamailio put on the INVITE to the media node.
 * @param owner the number of the control process that has decided
 */
export function linesOfCall(call: CarriedCall, owner: number): string {
  const headers: [CallHeader, string][] = [
    ['callId', call.id],
    ['owner', String(owner)],
    ['customer', call.customerId],
    ['application', call.applicationId],
    ['from', call.from],
    ['to', call.to],
    ['trunk', call.trunkId ?? ''],
    ['created', call.createdAt.toISOString()],
  ];
  return headers.map(([header, value]) => `${CALL_HEADERS[header]}: ${value}\r\n`).join('');
}

/** What `linesOfCall` has written, or undefined where a part is missing. `from` may be empty. */
export function carriedCall(headers: CallHeaders): CarriedCall | undefined {
  const { 'call-id': id, customer, application, from = '', to, trunk, created } = headers;
  if (!id || !customer || !application || !to || !created) return undefined;
  return {
    id,
    customerId: customer,
    applicationId: application,
    from,
    to,
    trunkId: trunk,
    createdAt: new Date(created),
  };
}
