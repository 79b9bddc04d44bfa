import { expect } from 'chai';
import {
  header,
  headerValues,
  hostPortOf,
  parseSip,
  sipStream,
  tagOf,
  uriOf,
  writeSip,
} from '../../../../cli/phone/sip-message.ts';

describe('cli/phone/sip-message', () => {
  it('reads folded lines, compact names and lists with commas in quotes and brackets', () => {
    const message = parseSip(
      [
        'SIP/2.0 200 OK',
        'v: SIP/2.0/UDP a;branch=z9hG4bK1,',
        ' SIP/2.0/UDP b;branch=z9hG4bK2',
        'Record-Route: "one, two" <sip:p1;lr;x=1,2>, <sip:p2:5080;lr>',
        'f: <sip:a@b>;tag=x1',
        'i: id',
        '',
        'body',
      ].join('\r\n'),
    );
    expect(headerValues(message, 'Via')).to.deep.equal([
      'SIP/2.0/UDP a;branch=z9hG4bK1',
      'SIP/2.0/UDP b;branch=z9hG4bK2',
    ]);
    expect(headerValues(message, 'record-route').map(uriOf)).to.deep.equal([
      'sip:p1;lr;x=1,2',
      'sip:p2:5080;lr',
    ]);
    expect([
      header(message, 'Call-ID'),
      tagOf(header(message, 'From')),
      message.code,
      message.body,
    ]).to.deep.equal(['id', 'x1', 200, 'body']);
  });

  it('finds where a URI leads', () => {
    expect(hostPortOf('sip:+1555@127.0.0.1:5080;transport=tcp')).to.deep.equal({
      host: '127.0.0.1',
      port: 5080,
    });
    expect(hostPortOf('sip:127.0.0.1;lr')).to.deep.equal({ host: '127.0.0.1', port: 5060 });
  });

  it('takes messages out of a stream however it is cut', () => {
    const stream = `${writeSip('OPTIONS sip:a SIP/2.0', [['Call-ID', '1']], 'héllo')}\r\n\r\n${writeSip('SIP/2.0 200 OK', [['Call-ID', '2']])}`;
    const bytes = Buffer.from(stream);
    for (const size of [1, 7, 1000]) {
      const messages: string[] = [];
      const take = sipStream((text) => messages.push(text));
      for (let at = 0; at < bytes.length; at += size) take(bytes.subarray(at, at + size));
      expect(messages.map((text) => [parseSip(text).body, header(parseSip(text), 'i')])).to.deep.equal([
        ['héllo', '1'],
        ['', '2'],
      ]);
    }
  });
});
