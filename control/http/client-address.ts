import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';

type Request = Pick<IncomingMessage, 'headers' | 'socket'>;
type Network = [ipaddr.IPv4 | ipaddr.IPv6, number];

type Address = ipaddr.IPv4 | ipaddr.IPv6;

const parsed = (text: string): Address | undefined =>
  ipaddr.isValid(text) ? ipaddr.process(text) : undefined;

/** @throws Error for what is neither an address nor a network such as 10.0.0.0/8 */
export function networkOf(text: string): Network {
  if (text.includes('/')) return ipaddr.parseCIDR(text);
  const address = ipaddr.process(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

/**
 * Tells whose request it is: the address of the connection, or what proxies of ours say of it in
 * X-Forwarded-For. What stands there before the first address that is none of theirs is the client's own to
 * write, and not read. Of IPv6 addresses the network is named, as one household has 2^64 of them.
 */
export function clientAddresses(proxies: readonly string[]): (request: Request) => string {
  const networks = proxies.map(networkOf);
  const trusted = (address: Address): boolean =>
    networks.some(
      ([network, bits]) => network.kind() === address.kind() && address.match([network, bits] as never),
    );
  return ({ headers, socket }) => {
    let address = parsed(socket.remoteAddress ?? '');
    const forwarded = [headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
    for (let i = forwarded.length - 1; i >= 0 && address && trusted(address); i--) {
      const next = parsed((forwarded[i] ?? '').trim().replace(/^\[(.*)\](:\d+)?$/, '$1'));
      if (!next) break;
      address = next;
    }
    if (!address) return 'unknown';
    if (address.kind() === 'ipv4') return address.toString();
    return `${Buffer.from(address.toByteArray().slice(0, 8)).toString('hex')}::/64`;
  };
}
