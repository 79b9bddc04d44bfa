import net from 'node:net';

/**
 * Networks that may come in. An entry that is none is an error: a list that silently lacks one would lock
 * people out.
 */
export class AccessList {
  readonly #list = new net.BlockList();

  /** @throws Error when an entry is no address and no CIDR network */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', bits] = network.split('/');
      const family = net.isIP(address);
      const max = family === 6 ? 128 : 32;
      const prefix = bits === undefined ? max : Number(bits);
      if (family === 0 || !Number.isInteger(prefix) || prefix < 0 || prefix > max)
        throw new Error(`not a network: ${network}`);
      this.#list.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4');
    }
  }

  allows(address: string): boolean {
    const family = net.isIP(address);
    return family !== 0 && this.#list.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }
}
