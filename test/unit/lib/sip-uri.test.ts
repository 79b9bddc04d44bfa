import { expect } from 'chai';
import fc from 'fast-check';
import { isSipTarget, sipHost } from '../../../control/lib/sip-uri.ts';

describe('SIP targets', () => {
  it('are sip and sips URIs of a host, with or without a user, port and parameters', () => {
    for (const [uri, host] of [
      ['sip:pbx.example.com', 'pbx.example.com'],
      ['sips:pbx.example.com:5061', 'pbx.example.com'],
      ['sip:+15551230002@pbx.example.com', 'pbx.example.com'],
      ['sip:sales@203.0.113.7:5080;transport=tcp', '203.0.113.7'],
      ['sip:a%20b@[2001:db8::1]:5060;user=phone', '[2001:db8::1]'],
      ['SIP:100;phone-context=x@pbx', 'pbx'],
    ] as const)
      expect(sipHost(uri), uri).to.equal(host);
  });

  it('carry no header, password, control character or second destination', () => {
    for (const uri of [
      '',
      'pbx.example.com',
      'tel:+15551230002',
      'http://pbx.example.com',
      'sip:',
      'sip:@pbx.example.com',
      'sip:user@',
      'sip:a@pbx.example.com?Subject=x',
      'sip:a@pbx.example.com?X-MV-Call-ID=x',
      'sip:user:secret@pbx.example.com',
      'sip:a@pbx.example.com\r\nX-Evil: 1',
      'sip:a%0d%0aX-Evil:1@pbx.example.com',
      'sip:a%1Fb@pbx.example.com',
      'sip:a%7Fb@pbx.example.com',
      'sip:a b@pbx.example.com',
      'sip:a@pbx.example.com;maddr=10.0.0.1',
      'sip:a@pbx.example.com;received=10.0.0.1',
      'sip:a@pbx.example.com;transport=ws',
      'sip:a@pbx.example.com;lr',
      'sip:a@pbx.example.com|sip:b@other.example',
      '<sip:a@pbx.example.com>',
      '"x" <sip:a@pbx.example.com>',
      'sip:a@pbx.example.com,sip:b@other.example',
      'sip:a@pbx.example.com:0',
      'sip:a@pbx.example.com:65536',
      'sip:a@999.1.1.1',
      'sip:a@[::zz]',
      'sip:a@-x.example',
      'sip:a@pbx..example.com',
      'sip:a@b@c/d',
    ])
      expect(isSipTarget(uri), uri).to.equal(false);
  });

  it('hold nothing that ends a line, a URI, or an entry of the list they are kept in', () => {
    const pieces = fc.array(
      fc.constantFrom(
        'sip:',
        'sips:',
        'a',
        '@',
        'pbx.example.com',
        ':5060',
        ';transport=udp',
        ';',
        '?',
        '|',
        '<',
        '>',
        '"',
        '\r\n',
        '\t',
        ' ',
        '%0a',
        '\\',
        'ü',
        '\u0000',
        '[::1]',
      ),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(pieces, (parts) => {
        const uri = parts.join('');
        if (isSipTarget(uri)) expect(uri).to.match(/^sips?:[^\x00-\x20\x7f-\uffff<>"|?\\]+$/i);
      }),
      { numRuns: 2000 },
    );
  });
});
