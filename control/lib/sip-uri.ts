import { isIPv4, isIPv6 } from 'node:net';
import { isAddress, isPublicAddress } from './addresses.ts';

/**
 * The SIP URIs a call may be sent to: the part of RFC 3261 §25.1 that names a user at a host and how to get
 * there. Headers (`?…`), passwords and control characters are not in it, so that nothing a customer types
 * becomes a line of a SIP message, and `maddr` and the like are not, so that the host is the place the call
 * goes to.
 */
const USER = /^(?:[A-Za-z0-9\-_.!~*'()&=+$,;/#]|%(?!7[Ff])[2-7][0-9A-Fa-f])+$/;
const NAME =
  /^(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?$/;
const PARAMETER =
  /^(?:transport=(?:udp|tcp|tls)|user=(?:phone|ip)|(?:tgrp|trunk-context|dtg|npdi|rn|cic)(?:=[A-Za-z0-9\-_.+]{1,64})?)$/i;

export const isHost = (host: string): boolean =>
  isIPv4(host) ||
  (host.startsWith('[') && host.endsWith(']') && isIPv6(host.slice(1, -1))) ||
  (NAME.test(host) && !/^[\d.]+$/.test(host));

/** The host of a SIP URI (IPv6 in brackets), or undefined where it is not a URI calls may be sent to. */
export function sipHost(uri: string): string | undefined {
  const scheme = /^sips?:/i.exec(uri);
  if (!scheme) return undefined;
  const rest = uri.slice(scheme[0].length);
  const at = rest.lastIndexOf('@');
  if (at === 0 || (at > 0 && !USER.test(rest.slice(0, at)))) return undefined;
  const [address = '', ...parameters] = rest.slice(at + 1).split(';');
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(address) ?? [];
  if (!isHost(host) || (port !== undefined && (Number(port) < 1 || Number(port) > 65_535))) return undefined;
  return parameters.every((parameter) => PARAMETER.test(parameter)) ? host : undefined;
}

export const isSipTarget = (uri: string): boolean => sipHost(uri) !== undefined;

/**
 * Whether a host, as a customer writes it, is a part of a private network or of this machine by its looks: a
 * private address in any notation, `localhost`, or a name of one label, which only a search list or a local
 * name server knows. What other names lead to is seen when they are connected to (kamailio/routes/guard.cfg).
 */
export function pointsInside(host: string): boolean {
  const name = host
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
  if (isAddress(name)) return !isPublicAddress(name);
  const last = name.split('.').at(-1) ?? '';
  // The last label of a name is no number (RFC 3696 §2): resolvers read such a thing as an address.
  return (
    !name.includes('.') ||
    /^(?:\d+|0x[0-9a-f]*)$/.test(last) ||
    ['localhost', 'local', 'internal', 'home', 'lan'].includes(last)
  );
}
