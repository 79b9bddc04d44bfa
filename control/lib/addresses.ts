import ipaddr from 'ipaddr.js';

// IPv6 outside these is not handed out to anybody (IANA: only 2000::/3 is global unicast), so what is public
// is listed, not what is not.
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');
// RFC 6052: on IPv6-only networks every IPv4 host looks like this
const NAT64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');
const SPECIAL_V6 = [
  '2001::/23', // IETF protocol assignments: Teredo, benchmarking, ORCHID and the like (RFC 2928)
  '2001:db8::/32', // documentation (RFC 3849)
  '2002::/16', // 6to4 (RFC 7526: no longer in use): holds an IPv4 address that a relay would reach for us
  '2620:4f:8000::/48', // AS112 (RFC 7534)
  '3fff::/20', // documentation (RFC 9637)
].map((range) => ipaddr.IPv6.parseCIDR(range));

// A public number that every Azure machine reaches its host's metadata at.
const PLATFORM_V4 = '168.63.129.16';

/** The address, an IPv4-mapped one as IPv4, or undefined where it is no address or has a zone. */
function parse(ip: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(ip)) return ipaddr.IPv4.parse(ip);
  if (!ip.includes(':') || ip.includes('%') || !ipaddr.IPv6.isValid(ip)) return undefined;
  const address = ipaddr.IPv6.parse(ip);
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

/** Whether this is an IPv4 or IPv6 address in its usual notation. */
export const isAddress = (host: string): boolean =>
  ipaddr.IPv4.isValidFourPartDecimal(host) || (host.includes(':') && ipaddr.IPv6.isValid(host));

/**
 * Whether an address belongs to the public internet: by the special-purpose registries of IANA (RFC 6890),
 * and with IPv4 looked at inside IPv4-mapped and NAT64 addresses. Whatever is not an address is not public.
 */
export function isPublicAddress(ip: string): boolean {
  let address = parse(ip);
  if (!address) return false;
  if (address instanceof ipaddr.IPv6 && address.match(NAT64))
    address = new ipaddr.IPv4(address.toByteArray().slice(12));
  if (address instanceof ipaddr.IPv4)
    return address.range() === 'unicast' && address.toString() !== PLATFORM_V4;
  return address.match(GLOBAL_UNICAST) && !SPECIAL_V6.some((range) => address.match(range));
}

/** Whether an address is 127.0.0.0/8 or ::1, IPv4-mapped ones included. */
export const isLoopbackAddress = (ip: string): boolean => parse(ip)?.range() === 'loopback';
