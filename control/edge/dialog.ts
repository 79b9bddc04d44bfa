import { z } from 'zod';
import type { Call } from '../calls/call.ts';
import { CALL_HEADERS } from '../lib/call-headers.ts';
import { sidesOf, type FarEnd } from '../lib/far-end.ts';
import type { KamailioRpc } from './kamailio-rpc.ts';

export type Rpc = Pick<KamailioRpc, 'url' | 'call'>;

/** A dialog of a call of ours as Kamailio holds it, in its memory alone. */
export interface Dialog {
  /** Kamailio's own name of it. */
  entry: number;
  id: number;
  sipCallId: string;
  state: 'ringing' | 'answered' | 'over';
  /** Since when it is answered, where it is. */
  answeredAt: Date | undefined;
  /** Of a dialog that rings: the transaction of its INVITE, `index:label`. */
  transaction: string | undefined;
  /** What rtpengine knows its audio by. */
  rtpId: string | undefined;
  /** The number that was dialled, of a call that has been relayed without a decision. */
  number: string | undefined;
  /** How both sides of a relayed call are reached, once it is answered. */
  farEnds: FarEnd[];
}

/** States of the dialog module: 1 and 2 before the answer, 3 and 4 after it, 5 once a BYE has passed. */
const ANSWERED = 3;
const OVER = 5;

/**
 * So high a CSeq is above whatever the side in whose name the BYE is sent has come to (RFC 3261 §12.2.1.1;
 * the limit is 2^31).
 */
const LAST_CSEQ = 2_147_480_000;
/**
 * A CSeq that changes nothing for the dialog: a side that has come further refuses it with 500 (RFC 3261
 * §12.2.2), and is there.
 */
const FIRST_CSEQ = 1;
/** Kamailio waits 16 s for the answer (route[WITHIN_DIALOG] of the edge), and says 408 then. */
const OPTIONS_MS = 20_000;
/** Of nobody: silence, no such dialog, or a connection that is not there. */
const NOT_THERE = new Set([404, 408, 410, 477, 478, 481]);
/** How long the answer to a BYE is waited for. Kamailio goes on repeating it for half a minute. */
const BYE_MS = 5000;

/** By what the dialogs of a call are found. */
export type CallName = Pick<Call, 'id'> & Partial<Pick<Call, 'routeMode' | 'sipCallId' | 'to'>>;

/** Where a call id of ours would be, of a call that Kamailio has relayed without a decision. */
const UNDECIDED = '-';

/**
 * The dialogs that a Kamailio has of a call, its second legs' included. Two calls may share a Call-ID: they
 * are found by our id. A relayed call whose decision came too late does not have that; its Call-ID and the
 * number that was dialled name it, since an INVITE that comes for the same number twice is refused.
 */
export async function dialogsOf(rpc: Rpc, { id, routeMode, sipCallId, to }: CallName): Promise<Dialog[]> {
  const own = await listed(rpc, id);
  if (own.length > 0 || routeMode !== 'sip' || sipCallId === undefined) return own;
  return (await undecided(rpc)).filter((dialog) => dialog.sipCallId === sipCallId && dialog.number === to);
}

/** The calls that a Kamailio has relayed without a decision. */
export const undecided = (rpc: Rpc): Promise<Dialog[]> => listed(rpc, UNDECIDED);

async function listed(rpc: Rpc, callId: string): Promise<Dialog[]> {
  const list = await rpc.call('dlg.profile_list', ['call', callId]);
  return Array.isArray(list) ? list.map(dialogOf) : [];
}

/**
 * Ends a dialog: BYE to both sides, or CANCEL to who rings and 487 to who calls.
 * @throws RpcRefusal when it is not as it was listed any more
 */
export async function endDialog(rpc: Rpc, { state, entry, id, transaction }: Dialog): Promise<void> {
  if (state === 'answered') {
    await rpc.call('dlg.end_dlg', [entry, id]);
  } else if (state === 'ringing' && transaction !== undefined) {
    // Who answers from now on is let go: see ONE_ANSWER in kamailio/routes/late.cfg.
    await rpc.call('htable.sets', ['answered', transaction.replace(':', '-'), ';']);
    await rpc.call('tm.reply', [
      487,
      'Request Terminated',
      transaction,
      `mv${transaction.replace(':', '')}`,
      '',
      '',
    ]);
  }
}

/** Since when a Kamailio has been up, by our clock: at the latest. */
export async function upSince(rpc: Rpc, now: () => Date): Promise<Date> {
  const { uptime } = (await rpc.call('core.uptime')) as { uptime?: number };
  // The reply may have taken its time, and both ends of the time are cut to whole seconds.
  return new Date(now().getTime() - (Number(uptime ?? 0) - 1) * 1000);
}

/**
 * Has a Kamailio that has no dialog of it (any more) send a BYE to one side of a call: as the other side
 * would, to the Contact that Kamailio gave to it, which leads back to Kamailio and says there where this side
 * is.
 * @returns the final SIP code; 408 when there was none
 */
export function sayBye(rpc: Rpc, end: FarEnd): Promise<number> {
  return ask(
    rpc,
    end,
    ['BYE', LAST_CSEQ],
    (edge) => [`Route: <${edge};lr>${end.routes === '' ? '' : `, ${end.routes}`}`],
    BYE_MS,
  );
}

/**
 * Asks sides of a call whether they are there, by OPTIONS within their dialog, whatever they say to it.
 * @returns undefined where no Kamailio can be asked
 */
export async function isThere(rpcs: readonly Rpc[], ends: readonly FarEnd[]): Promise<boolean | undefined> {
  for (const rpc of rpcs) {
    try {
      const codes = await Promise.all(
        ends.map((end) =>
          ask(
            rpc,
            end,
            ['OPTIONS', FIRST_CSEQ],
            () => [`${CALL_HEADERS.probe}: 1`, ...(end.routes === '' ? [] : [`Route: ${end.routes}`])],
            OPTIONS_MS,
          ),
        ),
      );
      return codes.some((code) => !NOT_THERE.has(code));
    } catch {
      // Another one may be reached.
    }
  }
  return undefined;
}

/**
 * Has a Kamailio send a request to one side of a call, through itself.
 * @param more headers, by the address that it listens on
 */
async function ask(
  rpc: Rpc,
  { sipCallId, fromTag, toTag, contact }: FarEnd,
  [method, cseq]: [string, number],
  more: (edge: string) => string[],
  timeoutMs: number,
): Promise<number> {
  const named = `<sip:${contact.slice(contact.indexOf('@') + 1)}>`;
  const edge = await addressOf(rpc);
  const headers = [
    `From: ${named};tag=${fromTag}`,
    `To: ${named};tag=${toTag}`,
    `Call-ID: ${sipCallId}`,
    `CSeq: ${cseq} ${method}`,
    'Max-Forwards: 70',
    ...more(edge),
  ];
  const reply = await rpc.call(
    'tm.t_uac_wait',
    [method, contact, edge, '.', `${headers.join('\r\n')}\r\n`, ''],
    timeoutMs,
  );
  return Array.isArray(reply) ? Number(reply[0]) : 408;
}

/** Where a Kamailio listens: the address in a Contact may be one that only the outside can reach. */
async function addressOf(rpc: Rpc): Promise<string> {
  const sockets = z
    .array(z.object({ socket: z.object({ proto: z.string(), ipaddress: z.string(), port: z.string() }) }))
    .parse(await rpc.call('core.sockets_list'));
  const udp = sockets.map(({ socket }) => socket).find(({ proto }) => proto === 'udp');
  if (!udp) throw new Error(`kamailio at ${rpc.url} has no UDP socket`);
  return `sip:${udp.ipaddress}:${udp.port}`;
}

interface Listed {
  h_entry?: number;
  h_id?: number;
  'call-id'?: string;
  state?: number;
  start_ts?: number;
  caller?: Side;
  callee?: Side;
  variables?: Record<string, string>[];
}
interface Side {
  tag?: string | null;
  route_set?: string | null;
}

function dialogOf(item: unknown): Dialog {
  const {
    h_entry: entry = 0,
    h_id: id = 0,
    'call-id': sipCallId = '',
    state = 0,
    start_ts: startedAt,
    caller = {},
    callee = {},
    variables = [],
  } = item as Listed;
  const {
    transaction,
    number,
    rtp_id: rtpId,
    to_caller: toCaller,
    to_callee: toCallee,
  } = Object.assign({}, ...variables) as Record<string, string | undefined>;
  return {
    entry,
    id,
    sipCallId,
    transaction,
    number,
    rtpId,
    state: state >= OVER ? 'over' : state >= ANSWERED ? 'answered' : 'ringing',
    // Whole seconds, cut off: the next one is not too early.
    answeredAt: startedAt ? new Date((startedAt + 1) * 1000) : undefined,
    farEnds:
      toCaller === undefined || toCallee === undefined
        ? []
        : sidesOf({
            sipCallId,
            fromTag: caller.tag ?? '',
            toTag: callee.tag ?? '',
            toCaller,
            toCallee,
            callerRoutes: caller.route_set ?? '',
            calleeRoutes: callee.route_set ?? '',
            rtpId: number === undefined ? undefined : rtpId,
          }),
  };
}
