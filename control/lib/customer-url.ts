import ipaddr from 'ipaddr.js';

/**
 * Whether a host of a URL or SIP address is, as written, not on the public internet: a private, loopback, link-local,
 * multicast or otherwise special address, or a name of the local machine. Names are resolved and checked where the
 * connection is made; this only spares customers a mistake that would show itself much later.
 * @param host a name, an IPv4 address, or an IPv6 address with or without brackets
 */
export function isPrivateHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').replace(/\.$/, '').toLowerCase();
  if (ipaddr.isValid(bare)) return ipaddr.process(bare).range() !== 'unicast';
  return bare === 'localhost' || bare.endsWith('.localhost') || !bare.includes('.');
}

/** What is wrong with a customer's http(s) URL as written, or undefined. */
export function urlProblem(text: string, publicOnly: boolean): string | undefined {
  if (!/^https?:\/\/[^\s\\]+$/i.test(text) || !URL.canParse(text)) return 'must be an http or https URL';
  if (publicOnly && isPrivateHost(new URL(text).hostname)) return 'must not point to a private or local address';
  return undefined;
}
