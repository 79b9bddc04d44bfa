import { expect } from 'chai';
import fc from 'fast-check';
import { readEvent } from '../../../../control/media/esl/events.ts';
import { FrameReader, type Frame } from '../../../../control/media/esl/frames.ts';

const frame = (headers: Record<string, string>, body = ''): string =>
  Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('') + (body ? `Content-Length: ${Buffer.byteLength(body)}\n\n${body}` : '\n');

const plain = (frames: Frame[]): [Record<string, string>, string][] =>
  frames.map(({ headers, body }) => [
    Object.fromEntries([...headers].filter(([name]) => name !== 'content-length')),
    body,
  ]);

describe('frames of the event socket', () => {
  it('come out whole and in order, however the network has cut them', () => {
    const bodies = [
      '',
      '{"a":"é \\n\\n ü"}',
      'Event-Name: X\nContent-Length: 4\n\n+OK\n',
      '\n\n\n',
      '日本語'.repeat(50),
    ];
    const bytes = Buffer.from(bodies.map((body, i) => frame({ 'Content-Type': `t/${i}` }, body)).join(''));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: bytes.length - 1 }), { maxLength: 40 }), (cuts) => {
        const reader = new FrameReader();
        const frames: Frame[] = [];
        let from = 0;
        for (const cut of [...new Set(cuts)].sort((a, b) => a - b).concat(bytes.length)) {
          frames.push(...reader.push(bytes.subarray(from, cut)));
          from = cut;
        }
        expect(plain(frames)).to.deep.equal(bodies.map((body, i) => [{ 'content-type': `t/${i}` }, body]));
      }),
    );
  });

  it('may have lines that end in CR LF, and empty lines between them', () => {
    const frames = new FrameReader().push(
      Buffer.from('\r\n\nContent-Type: a/b\r\nReply-Text: +OK x: y\r\n\r\nContent-Type: c/d\n\n'),
    );
    expect(plain(frames)).to.deep.equal([
      [{ 'content-type': 'a/b', 'reply-text': '+OK x: y' }, ''],
      [{ 'content-type': 'c/d' }, ''],
    ]);
  });

  it('are not waited for without end', () => {
    expect(() => new FrameReader().push(Buffer.alloc(70_000, 'x'))).to.throw('without an end');
    for (const length of ['-1', 'many', '1e99', '999999999999']) {
      expect(() => new FrameReader().push(Buffer.from(`Content-Length: ${length}\n\n`)), length).to.throw(
        'Content-Length',
      );
    }
  });

  it('stay cheap when a long one comes in small pieces', () => {
    const body = 'x'.repeat(8_000_000);
    const bytes = Buffer.from(frame({ 'Content-Type': 'api/response' }, body));
    const reader = new FrameReader();
    const frames: Frame[] = [];
    for (let at = 0; at < bytes.length; at += 1400)
      frames.push(...reader.push(bytes.subarray(at, at + 1400)));
    expect(frames).to.have.length(1);
    expect(frames[0]?.body.length).to.equal(body.length);
  });
});

describe('events of the event socket', () => {
  const event = (type: string, body: string) =>
    readEvent({ headers: new Map([['content-type', type]]), body });

  it('in JSON have their values as they are', () => {
    expect(
      event('text/event-json', '{"Event-Name":"DTMF","a":"100%41 +é","_body":"x","list":["1","2"]}'),
    ).to.deep.equal({
      name: 'DTMF',
      headers: { 'Event-Name': 'DTMF', a: '100%41 +é', list: '1,2' },
      body: 'x',
    });
  });

  it('in plain are URL-encoded, with a body of their own after an empty line', () => {
    const text =
      'Event-Name: BACKGROUND_JOB\nJob-Command: uuid_dump%20x\nbad: 100%\nContent-Length: 6\n\n+OK é\n\n';
    expect(event('text/event-plain', text)).to.deep.equal({
      name: 'BACKGROUND_JOB',
      headers: {
        'Event-Name': 'BACKGROUND_JOB',
        'Job-Command': 'uuid_dump x',
        bad: '100%',
        'Content-Length': '6',
      },
      body: '+OK é',
    });
  });

  it('are told from everything else', () => {
    expect(event('api/response', '{}')).to.equal(undefined);
    expect(() => event('text/event-json', '[]')).to.throw();
    expect(() => event('text/event-json', '{')).to.throw();
  });
});
