import { expect } from 'chai';
import fc from 'fast-check';
import {
  makeResponse,
  parseMessage,
  readForRefusal,
  SipSyntaxError,
  splitList,
  writeMessage,
  type SipRequest,
} from '../../../freeswitch/embedded/sip/message.ts';
import {
  parseCSeq,
  parseNameAddr,
  parseUri,
  parseVia,
  stampVia,
} from '../../../freeswitch/embedded/sip/fields.ts';

function request(text: string): SipRequest {
  const message = parseMessage(Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1'));
  if (message.kind !== 'request') throw new Error('not a request');
  return message;
}

const INVITE = `INVITE sip:+4915112345@10.0.0.1 SIP/2.0
v: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKa, SIP/2.0/TCP 10.0.0.3;branch=z9hG4bKb
f: "Doe, Jane" <sip:+4930111@example.org>;tag=1
t: <sip:+4915112345@10.0.0.1>
i: abc@host
CSeq: 7 INVITE
Subject: a long
  story,
\ttold twice
m: <sip:jane@10.0.0.3;x=a,b>
Record-Route: <sip:10.0.0.2;lr>,<sip:10.0.0.4;lr>
l: 3

abcdef`;

describe('embedded: SIP messages', () => {
  it('reads compact names, folded lines and comma-separated lists', () => {
    const { headers, body, method } = request(INVITE);
    expect(method).to.equal('INVITE');
    expect(headers.all('via')).to.deep.equal([
      'SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKa',
      'SIP/2.0/TCP 10.0.0.3;branch=z9hG4bKb',
    ]);
    expect(headers.get('subject')).to.equal('a long story, told twice');
    expect(headers.all('record-route')).to.deep.equal(['<sip:10.0.0.2;lr>', '<sip:10.0.0.4;lr>']);
    expect(headers.all('contact')).to.deep.equal(['<sip:jane@10.0.0.3;x=a,b>']);
    expect(headers.get('call-id')).to.equal('abc@host');
    expect(body.toString()).to.equal('abc');
  });

  it('keeps bytes it does not understand', () => {
    const text = INVITE.replace('Jane', 'J\xc3\xa4ne');
    const answer = writeMessage(makeResponse(request(text), 200, { toTag: 'me' }));
    expect(answer.toString('utf8')).to.include('"Doe, Jäne" <sip:+4930111@example.org>;tag=1');
    expect(answer.toString('utf8')).to.include('To: <sip:+4915112345@10.0.0.1>;tag=me\r\n');
  });

  it('refuses what is not SIP', () => {
    for (const text of [
      '',
      'GET / HTTP/1.1\r\n\r\n',
      'INVITE sip:a SIP/3.0\r\n\r\n',
      INVITE.replace('l: 3', 'l: 3000'),
      INVITE.replace('l: 3', 'l: x'),
    ]) {
      expect(() => parseMessage(Buffer.from(text)), text).to.throw(SipSyntaxError);
    }
  });

  it('passes over empty lines in front of the message', () => {
    expect(parseMessage(Buffer.from(`\r\n\r\n\n${INVITE.replaceAll('\n', '\r\n')}`, 'latin1'))).to.include({
      method: 'INVITE',
    });
  });

  it('finds in a request that it cannot parse what the refusal needs', () => {
    const broken = INVITE.replace('Subject: a long', 'no colon').replaceAll('\n', '\r\n');
    const refusal = readForRefusal(Buffer.from(broken, 'latin1'));
    const answer = refusal && writeMessage(makeResponse(refusal, 400)).toString();
    expect(answer).to.include(
      'Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKa\r\nVia: SIP/2.0/TCP 10.0.0.3;branch=z9hG4bKb\r\n',
    );
    expect(answer).to.include('Call-ID: abc@host\r\nCSeq: 7 INVITE\r\n');
    for (const text of [
      'SIP/2.0 200 OK\r\nVia: x\r\n\r\n',
      'GET / HTTP/1.1\r\nVia: x\r\n\r\n',
      broken.replace('v:', 'w:'),
    ]) {
      expect(readForRefusal(Buffer.from(text)), text).to.equal(undefined);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void readForRefusal(Buffer.from(bytes))),
    );
  });

  it('reads back what it writes', () => {
    const message = request(INVITE);
    const again = parseMessage(writeMessage(message));
    expect(again).to.deep.include({ method: 'INVITE', uri: message.uri });
    const kept = (list: typeof message.headers.list): string[] =>
      list.filter((h) => h.key !== 'content-length').map((h) => `${h.key}:${h.value}`);
    expect(kept(again.headers.list)).to.deep.equal(kept(message.headers.list));
    expect(again.body.toString()).to.equal('abc');
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        try {
          parseMessage(Buffer.from(bytes));
        } catch (error) {
          if (!(error instanceof SipSyntaxError)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });

  it('survives any damage to a good message', () => {
    const good = Buffer.from(INVITE.replaceAll('\n', '\r\n'), 'latin1');
    fc.assert(
      fc.property(
        fc.nat(good.length - 1),
        fc.uint8Array({ maxLength: 20 }),
        fc.nat(20),
        (at, insert, remove) => {
          const bad = Buffer.concat([good.subarray(0, at), Buffer.from(insert), good.subarray(at + remove)]);
          try {
            const message = parseMessage(bad);
            for (const header of message.headers.list) {
              parseNameAddr(header.value);
              parseVia(header.value);
              parseCSeq(header.value);
              parseUri(header.value);
              splitList(header.value);
            }
            if (message.kind === 'request') writeMessage(makeResponse(message, 400));
          } catch (error) {
            if (!(error instanceof SipSyntaxError)) throw error;
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('embedded: SIP header fields', () => {
  it('reads URIs with user, port and parameters', () => {
    expect(parseUri('sip:%2B49:secret@[::1]:5070;transport=TCP;lr')).to.deep.equal({
      scheme: 'sip',
      user: '+49',
      host: '::1',
      port: 5070,
      params: { transport: 'TCP', lr: '' },
    });
    expect(parseUri('sip:10.0.0.1')).to.deep.include({ user: '', host: '10.0.0.1', port: undefined });
    expect(parseUri('tel:+49301')).to.equal(undefined);
    expect(parseUri('sip:a@b:99999')).to.equal(undefined);
  });

  it('tells the parameters of a URI from those of the header', () => {
    expect(parseNameAddr('sip:a@b;tag=x')).to.deep.equal({
      display: '',
      uri: 'sip:a@b',
      params: { tag: 'x' },
    });
    expect(parseNameAddr('<sip:a@b;tag=no>;tag=yes')).to.deep.equal({
      display: '',
      uri: 'sip:a@b;tag=no',
      params: { tag: 'yes' },
    });
    expect(parseNameAddr('"A \\"B\\" <x>" <sip:a@b>')?.display).to.equal('A "B" <x>');
    expect(parseNameAddr('nonsense')).to.equal(undefined);
  });

  it('stamps the top Via with where the request really came from', () => {
    expect(stampVia('SIP/2.0/UDP 10.0.0.2:5060;branch=z', '10.0.0.2', 5060)).to.equal(
      'SIP/2.0/UDP 10.0.0.2:5060;branch=z',
    );
    expect(stampVia('SIP/2.0/UDP 10.0.0.2:5060;branch=z', '192.0.2.1', 1024)).to.equal(
      'SIP/2.0/UDP 10.0.0.2:5060;branch=z;received=192.0.2.1',
    );
    expect(stampVia('SIP/2.0/UDP host;rport;branch=z', '192.0.2.1', 1024)).to.equal(
      'SIP/2.0/UDP host;rport=1024;branch=z;received=192.0.2.1',
    );
  });

  it('refuses sequence numbers beyond 32 bits', () => {
    expect(parseCSeq('4294967295 BYE')).to.deep.equal({ number: 4_294_967_295, method: 'BYE' });
    expect(parseCSeq('4294967296 BYE')).to.equal(undefined);
    expect(parseCSeq('BYE')).to.equal(undefined);
  });
});
