import { parseCSeq, parseNameAddr, parseUri, parseVia } from '../sip/fields.ts';
import type { ServerTransaction } from '../sip/server-transaction.ts';
import { nowMicros } from '../esl/events.ts';
import type { Headers } from '../sip/message.ts';
import type { Variables } from './variables.ts';

/** Text of a message is latin1 inside; what was UTF-8 on the wire is read as such. */
function text(value: string): string {
  return /[\x80-\xff]/.test(value) ? Buffer.from(value, 'latin1').toString('utf8') : value;
}

/** Who calls whom: what the INVITE says. */
export interface CallerProfile {
  name: string;
  number: string;
  destination: string;
  address: string;
  channelName: string;
}

export function callerProfile(invite: ServerTransaction): CallerProfile {
  const { request, source } = invite;
  const from = parseNameAddr(request.headers.get('from') ?? '');
  const fromUri = parseUri(from?.uri ?? '');
  const number = fromUri?.user ?? '';
  return {
    name: text(from?.display ?? '') || number,
    number,
    destination: parseUri(request.uri)?.user ?? '',
    address: source.address,
    channelName: `sofia/minivoice/${number}${number ? '@' : ''}${fromUri?.host ?? source.address}`,
  };
}

/** Sets the header fields that FreeSWITCH does not know itself. */
export function setExtraHeaders(variables: Variables, prefix: string, headers: Headers): void {
  for (const { key, name, value } of headers.list)
    if (/^(x-|p-|user-to-user$)/.test(key)) variables.set(prefix + name, text(value));
}

/** Sets what FreeSWITCH's SIP module tells of an INVITE. */
export function setInviteVariables(
  variables: Variables,
  invite: ServerTransaction,
  local: { ip: string; port: number },
  toTag: string,
): void {
  const { request, source } = invite;
  const { headers } = request;
  const set = (name: string, value: string | number | undefined): void =>
    variables.set(name, typeof value === 'string' ? text(value) : value);
  const uriParts = (prefix: string, uri: string): void => {
    const parsed = parseUri(uri);
    if (!parsed) return;
    set(`sip_${prefix}_user`, parsed.user);
    set(`sip_${prefix}_port`, parsed.port);
    set(
      `sip_${prefix}_uri`,
      `${parsed.user ? `${parsed.user}@` : ''}${parsed.host}${parsed.port === undefined ? '' : `:${parsed.port}`}`,
    );
    set(`sip_${prefix}_host`, parsed.host);
  };

  const from = parseNameAddr(headers.get('from') ?? '');
  uriParts('from', from?.uri ?? '');
  set('video_media_flow', 'disabled');
  set('audio_media_flow', 'disabled');
  set('text_media_flow', 'disabled');
  set('channel_name', callerProfile(invite).channelName);
  set('sip_call_id', headers.get('call-id'));
  set('sip_cseq', parseCSeq(headers.get('cseq'))?.number);
  set('sip_local_network_addr', local.ip);
  set('sip_network_ip', source.address);
  set('sip_network_port', source.port);
  set('sip_invite_stamp', nowMicros());
  set('sip_received_ip', source.address);
  set('sip_received_port', source.port);
  set('sip_via_protocol', source.transport);
  set('sip_from_user_stripped', (parseUri(from?.uri ?? '')?.user ?? '').replace(/^\+/, ''));
  set('sip_from_tag', from?.params.tag);
  set('sofia_profile_name', 'minivoice');
  set('sofia_profile_url', `sip:minivoice@${local.ip}:${local.port}`);
  set('recovery_profile_name', 'minivoice');
  const routes = headers.all('record-route');
  if (routes.length > 0) {
    set('sip_invite_record_route', routes.join(','));
    set('sip_invite_route_uri', [...routes].reverse().join(','));
  }
  set('sip_full_via', headers.all('via').join(','));
  set('sip_from_display', from?.display);
  set('sip_full_from', headers.get('from'));
  set('sip_full_to', headers.get('to'));
  set('sip_allow', headers.all('allow').join(', '));
  uriParts('req', request.uri);
  uriParts('to', parseNameAddr(headers.get('to') ?? '')?.uri ?? '');
  uriParts('contact', parseNameAddr(headers.get('contact') ?? '')?.uri ?? '');
  set('rtp_use_codec_string', 'PCMU,PCMA');
  set('sip_user_agent', headers.get('user-agent'));
  const via = parseVia(headers.get('via') ?? '');
  set('sip_via_host', via?.host);
  set('sip_via_port', via?.port);
  set('sip_via_rport', via?.params.rport);
  set('max_forwards', headers.get('max-forwards'));
  setExtraHeaders(variables, 'sip_h_', headers);
  if (request.body.length > 0) set('switch_r_sdp', request.body.toString('latin1'));
  set('endpoint_disposition', 'DELAYED NEGOTIATION');
  // FreeSWITCH sets it with its first provisional response; here the tag is known at once.
  set('sip_to_tag', toTag);
}
