import { expect } from 'chai';
import fc from 'fast-check';
import { CommandReader, EslTooLarge } from '../../../freeswitch/embedded/esl/command-reader.ts';
import { encodeValue, FsEvent } from '../../../freeswitch/embedded/esl/event.ts';
import { Filters } from '../../../freeswitch/embedded/esl/filters.ts';
import { Subscription } from '../../../freeswitch/embedded/esl/subscription.ts';

describe('embedded: event socket commands', () => {
  it('finds commands, headers and bodies wherever the stream is cut', () => {
    const stream = Buffer.from(
      '\n\nauth x\n\nsendmsg u\r\nCall-Command: execute\r\nexecute-app-arg:  a b: c\r\n\r\napi x\nContent-Length: 4\n\n\n\nöexit\n\n',
    );
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (sizes) => {
        const reader = new CommandReader();
        const commands = [];
        let at = 0;
        for (let i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          commands.push(...reader.push(stream.subarray(at, at + size)));
          at += size;
        }
        expect(commands.map((c) => c.line)).to.deep.equal(['auth x', 'sendmsg u', 'api x', 'exit']);
        expect(commands[1]?.headers.get('call-command')).to.equal('execute');
        expect(commands[1]?.headers.get('execute-app-arg')).to.equal('a b: c');
        expect(commands[2]?.body).to.equal('\n\nö');
      }),
    );
  });

  it('does not read without end', () => {
    expect(() => new CommandReader().push(Buffer.alloc(100_000, 0x41))).to.throw(EslTooLarge);
    expect(() => new CommandReader().push(Buffer.from('api x\ncontent-length: 9999999\n\n'))).to.throw(
      EslTooLarge,
    );
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 10 }), (chunks) => {
        const reader = new CommandReader();
        try {
          for (const chunk of chunks) reader.push(Buffer.from(chunk));
        } catch (error) {
          if (!(error instanceof EslTooLarge)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('embedded: events', () => {
  it('encodes plain values as FreeSWITCH does', () => {
    expect(encodeValue('Sat, 21 Nov 2026 01:08:41')).to.equal('Sat,%2021%20Nov%202026%2001%3A08%3A41');
    expect(encodeValue('sofia/minivoice/+4930111@127.0.0.1')).to.equal(
      'sofia/minivoice/%2B4930111%40127.0.0.1',
    );
    expect(encodeValue('ä')).to.equal('%C3%A4');
  });

  it('writes a frame whose length is that of its body', () => {
    const event = new FsEvent('BACKGROUND_JOB', { 'Event-Name': 'BACKGROUND_JOB', 'Job-Command': '' }, 'ö\n');
    const plain = 'Event-Name: BACKGROUND_JOB\nJob-Command: _undef_\nContent-Length: 3\n\nö\n';
    expect(event.frame('plain')).to.equal(
      `Content-Length: ${Buffer.byteLength(plain)}\nContent-Type: text/event-plain\n\n${plain}`,
    );
    const json = '{"Event-Name":"BACKGROUND_JOB","Job-Command":"","Content-Length":"3","_body":"ö\\n"}';
    expect(event.frame('json')).to.equal(
      `Content-Length: ${Buffer.byteLength(json)}\nContent-Type: text/event-json\n\n${json}`,
    );
  });

  it('subscribes to known names only', () => {
    const subscription = new Subscription();
    expect(subscription.add(' json NOSUCH_EVENT')).to.equal('-ERR no keywords supplied');
    expect(subscription.wants('DTMF')).to.equal(false);
    expect(subscription.add(' json dtmf NOSUCH_EVENT CUSTOM x::y')).to.equal(
      '+OK event listener enabled json',
    );
    expect(subscription.wants('DTMF')).to.equal(true);
    expect(subscription.wants('HEARTBEAT')).to.equal(false);
    expect(subscription.add(' plain all')).to.equal('+OK event listener enabled plain');
    expect(subscription.wants('HEARTBEAT')).to.equal(true);
    expect(subscription.remove(' HEARTBEAT')).to.equal('+OK events nixed');
    expect(subscription.wants('HEARTBEAT')).to.equal(false);
    expect(subscription.wants('CHANNEL_PARK')).to.equal(true);
    expect(subscription.clear()).to.equal('+OK no longer listening for events');
    expect(subscription.clear()).to.equal('-ERR not listening for events');
  });

  it('filters by header, any match being enough', () => {
    const filters = new Filters();
    const event = (name: string, uuid: string): FsEvent =>
      new FsEvent(name, { 'Event-Name': name, 'Unique-ID': uuid });
    expect(filters.passes(event('DTMF', '1'))).to.equal(true);
    expect(filters.command('Unique-ID 1')).to.equal('+OK filter added. [Unique-ID]=[1]');
    expect(filters.command('add Event-Name /^BACKGROUND/')).to.equal(
      '+OK filter added. [Event-Name]=[/^BACKGROUND/]',
    );
    expect(filters.passes(event('DTMF', '1'))).to.equal(true);
    expect(filters.passes(event('DTMF', '2'))).to.equal(false);
    expect(filters.passes(event('BACKGROUND_JOB', '2'))).to.equal(true);
    expect(filters.command('delete unique-id 1')).to.equal('+OK filter deleted. [unique-id][1]');
    expect(filters.passes(event('DTMF', '1'))).to.equal(false);
    expect(filters.command('delete all')).to.equal('+OK filter deleted. [all][]');
    expect(filters.passes(event('DTMF', '2'))).to.equal(true);
    expect(filters.command('Unique-ID')).to.equal('-ERR invalid syntax');
  });
});
