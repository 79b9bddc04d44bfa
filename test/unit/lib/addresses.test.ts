import { BlockList, isIPv6 } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import { isLoopbackAddress, isPublicAddress } from '../../../control/lib/addresses.ts';

// The oracle is node's own matcher with the registries of IANA written out again, sharing nothing with what
// is tested.
const special = new BlockList();
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.31.196.0', 24],
  ['192.52.193.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['192.175.48.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['168.63.129.16', 32],
] as const)
  special.addSubnet(net, bits, 'ipv4');

const octet = fc.integer({ min: 0, max: 255 });
const anyV4 = fc.tuple(octet, octet, octet, octet).map((parts) => parts.join('.'));
/** Near the edges of the ranges, where classification goes wrong. */
const edgyV4 = fc
  .tuple(
    fc.constantFrom(0, 9, 10, 11, 100, 126, 127, 128, 168, 169, 172, 192, 198, 203, 223, 224, 239, 240, 255),
    fc.constantFrom(0, 15, 16, 18, 19, 20, 31, 32, 51, 52, 63, 64, 88, 127, 128, 168, 175, 254),
    fc.constantFrom(0, 1, 2, 3, 48, 99, 100, 113, 129, 193, 196, 255),
    octet,
  )
  .map((parts) => parts.join('.'));
const v4 = fc.oneof(anyV4, edgyV4);
const group = fc.integer({ min: 0, max: 0xffff }).map((n) => n.toString(16));
const groups = (n: number) => fc.array(group, { minLength: n, maxLength: n });
const hex = (ip: string): string => {
  const [a = 0, b = 0, c = 0, d = 0] = ip.split('.').map(Number);
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
};

describe('addresses', () => {
  it('an IPv4 address is public exactly when no special-purpose registry lists it', () => {
    fc.assert(
      fc.property(v4, (ip) => isPublicAddress(ip) === !special.check(ip)),
      { numRuns: 5000 },
    );
  });

  it('an IPv4 address inside an IPv6 one is judged as itself, in both notations', () => {
    fc.assert(
      fc.property(
        v4,
        fc.constantFrom('::ffff:', '0:0:0:0:0:FFFF:', '64:ff9b::', '64:FF9B:0:0:0:0:'),
        fc.boolean(),
        (ip, prefix, dotted) => isPublicAddress(prefix + (dotted ? ip : hex(ip))) === isPublicAddress(ip),
      ),
      { numRuns: 2000 },
    );
  });

  it('nothing outside 2000::/3 is public but what holds a public IPv4 address', () => {
    fc.assert(
      fc.property(groups(8), (parts) => {
        const first = Number.parseInt(parts[0] ?? '', 16);
        fc.pre(first < 0x2000 || first > 0x3fff);
        fc.pre(!parts.slice(0, 5).every((part) => part === '0') && first !== 0x64);
        return !isPublicAddress(parts.join(':'));
      }),
      { numRuns: 2000 },
    );
  });

  it('no 6to4, Teredo, documentation or protocol address is public, whatever is inside', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('2002', '2001:0', '2001:db8', '2001:2', '2001:10', '2001:1ff', '3fff:0', '3fff:fff'),
        groups(6),
        (prefix, rest) => {
          const ip = [...prefix.split(':'), ...rest, '1'].slice(0, 8).join(':');
          return isIPv6(ip) && !isPublicAddress(ip);
        },
      ),
    );
  });

  it('ordinary addresses are public', () => {
    for (const ip of [
      '1.1.1.1',
      '8.8.8.8',
      '93.184.215.14',
      '172.15.255.255',
      '172.32.0.0',
      '192.167.255.255',
      '100.63.255.255',
      '100.128.0.0',
      '223.255.255.255',
      '2606:4700:4700::1111',
      '2a00:1450:4001:80b::200e',
      '2001:4860:4860::8888',
      '2001:200::1',
      '2003::1',
      '64:ff9b::8.8.8.8',
    ]) {
      expect(isPublicAddress(ip), ip).to.equal(true);
    }
  });

  it('the addresses that attacks use are not', () => {
    for (const ip of [
      '127.0.0.1',
      '0.0.0.0',
      '169.254.169.254',
      '100.100.100.200',
      '192.0.0.192',
      '168.63.129.16',
      '255.255.255.255',
      '::',
      '::1',
      '::ffff:169.254.169.254',
      '::127.0.0.1',
      '::7f00:1',
      '64:ff9b::a9fe:a9fe',
      '64:ff9b:1::808:808',
      '64:ff9b:0:0:0:1:808:808',
      '2002:7f00:1::',
      '2001:0:53aa:64c:0:0:80ff:fffe',
      'fe80::1',
      'fe80::1%eth0',
      'fec0::1',
      'fd00:ec2::254',
      'fc00::1',
      'ff02::1',
      '100::1',
      '2001:db8::1',
      '::ffff:0:8.8.8.8',
      '5f00::1',
      '4000::1',
    ]) {
      expect(isPublicAddress(ip), ip).to.equal(false);
    }
  });

  it('what is not an address in its usual notation is not public', () => {
    for (const text of [
      '',
      'localhost',
      '8.8.8',
      '134744072',
      '0x8080808',
      '010.8.8.8',
      '8.8.8.8:80',
      '[2606:4700::1]',
      '8.8.8.8 ',
      '2606:4700::1%1',
      '1.2.3.4.5',
    ]) {
      expect(isPublicAddress(text), text).to.equal(false);
    }
  });

  it('loopback is 127.0.0.0/8 and ::1 and their IPv4-mapped form, nothing else', () => {
    for (const ip of ['127.0.0.1', '127.255.255.254', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1'])
      expect(isLoopbackAddress(ip), ip).to.equal(true);
    for (const ip of [
      '128.0.0.1',
      '10.0.0.1',
      '0.0.0.0',
      '::',
      '64:ff9b::7f00:1',
      '64:FF9B:0::7f00:1',
      '0064:ff9b::7f00:1',
      'fe80::1',
      '::7f00:1',
      'localhost',
    ])
      expect(isLoopbackAddress(ip), ip).to.equal(false);
  });
});
