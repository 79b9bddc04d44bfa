import { causeNumber, parseCause } from '../causes.ts';
import type { SipRequest } from '../sip/message.ts';
import type { Variables } from './variables.ts';

/** Sets what is told of a call the far end has ended. @returns the hangup cause */
export function setRemoteEnd(
  variables: Variables,
  how: 'bye' | 'cancel',
  request: SipRequest | undefined,
): string {
  const bye = how === 'bye';
  const status = bye ? 200 : 487;
  const reason = request?.headers.get('reason');
  // A Q.850 cause the far end names counts more than what the SIP message alone says.
  const stated = /^\s*Q\.850\s*(?:;[^;]*)*;\s*cause\s*=\s*"?(\d{1,3})/i.exec(reason ?? '')?.[1];
  const cause = stated ? parseCause(stated) : bye ? 'NORMAL_CLEARING' : 'ORIGINATOR_CANCEL';
  variables.set('sip_reason', reason);
  variables.set('sip_term_status', status);
  variables.set('proto_specific_hangup_cause', `sip:${status}`);
  variables.set('sip_term_cause', causeNumber(cause));
  variables.set('sip_hangup_disposition', bye ? 'recv_bye' : 'recv_cancel');
  if (!bye) setFailure(variables, 487, 'CANCEL');
  return cause;
}

/** Sets what is told of a call this side has ended. @param disposition what was sent */
export function setOwnEnd(variables: Variables, disposition: string): void {
  variables.set('sip_hangup_disposition', disposition);
  if (disposition === 'send_cancel') setFailure(variables, 487, 'CANCEL');
}

/** What an INVITE that was never answered came to. */
export function setFailure(variables: Variables, status: number, phrase: string): void {
  variables.set('sip_invite_failure_status', status);
  variables.set('sip_invite_failure_phrase', phrase);
}
