import { expect } from 'chai';
import { pointsInside } from '../../../control/lib/sip-uri.ts';

describe('a SIP host that a customer names', () => {
  for (const host of [
    '127.0.0.1',
    '10.1.2.3',
    '[::1]',
    '[fd00::1]',
    '169.254.169.254',
    'localhost',
    'localhost.',
    'LOCALHOST',
    'a.localhost',
    'a.localhost.',
    'redis',
    'redis.',
    '0x7f.1',
    '0x7f000001',
    'a.1',
    'kamailio.internal',
    'printer.local',
  ]) {
    it(`${host} points inside`, () => expect(pointsInside(host)).to.equal(true));
  }
  for (const host of [
    '8.8.8.8',
    '[2a00:1450::1]',
    'pbx.example.com',
    'pbx.example.com.',
    'sip.localhost.example',
    '1.pbx.example',
  ]) {
    it(`${host} does not, as far as can be seen`, () => expect(pointsInside(host)).to.equal(false));
  }
});
