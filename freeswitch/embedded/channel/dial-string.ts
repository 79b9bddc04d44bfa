import net from 'node:net';
import { parseUri } from '../sip/fields.ts';
import type { Peer } from '../sip/transport.ts';

export interface DialString {
  variables: ReadonlyMap<string, string>;
  uri: string;
  peer: Peer;
}

/** @returns the hangup cause FreeSWITCH has for a string that calls nobody */
export function parseDialString(text: string): DialString | { cause: string } {
  const variables = new Map<string, string>();
  let rest = text.trim();
  if (rest.startsWith('{')) {
    const end = rest.indexOf('}');
    if (end < 0) return { cause: 'DESTINATION_OUT_OF_ORDER' };
    let list = rest.slice(1, end);
    rest = rest.slice(end + 1).trim();
    let separator = ',';
    if (list.startsWith('^^') && list.length > 2) {
      separator = list.charAt(2);
      list = list.slice(3);
    }
    for (const pair of list.split(separator)) {
      const at = pair.indexOf('=');
      if (at > 0) variables.set(pair.slice(0, at).trim(), pair.slice(at + 1).replace(/^'([^']*)'$/, '$1'));
    }
  }
  const [, profile, target = ''] = /^sofia\/([^/]+)\/(\S+)$/.exec(rest) ?? [];
  if (profile === undefined) return { cause: 'DESTINATION_OUT_OF_ORDER' };
  if (profile !== 'minivoice') return { cause: 'INVALID_PROFILE' };
  const uri = /^sips?:/i.test(target) ? target : `sip:${target}`;
  const parsed = parseUri(uri);
  if (!parsed || !(net.isIPv4(parsed.host) || /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(parsed.host)))
    return { cause: 'INVALID_URL' };
  const transport = parsed.params.transport?.toLowerCase() === 'tcp' ? 'tcp' : 'udp';
  return { variables, uri, peer: { transport, address: parsed.host, port: parsed.port ?? 5060 } };
}

/**
 * The header fields a leg is to have: `sip_h_X` is the header X. What could break out of its line is left
 * out.
 */
export function headersOf(variables: ReadonlyMap<string, string>): [string, string][] {
  const headers: [string, string][] = [];
  for (const [name, value] of variables) {
    const header = /^sip_h_([A-Za-z0-9!%*_+`'~.-]+)$/.exec(name)?.[1];
    if (header && value && !/[\r\n\0]/.test(value))
      headers.push([header, Buffer.from(value).toString('latin1')]);
  }
  return headers;
}
