import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { EslConnection } from '../../../control/media/esl/connection.ts';
import type { Dialing, OriginateRequest, ParkedChannel } from '../../../control/media/media.ts';
import { listChannels } from '../../../control/media/node-commands.ts';
import { Heard } from '../../../cli/phone/ear.ts';
import { Phone, type Call } from '../../support/phone.ts';
import { tone, type SoundSource } from '../../../cli/phone/sound.ts';
import { writeWav } from '../../../cli/phone/wav.ts';
import { Control } from './control.ts';
import { EslProxy, PASSWORD, TestNode } from './nodes.ts';

export interface Caller {
  call: Call;
  parked: ParkedChannel;
  channel: ParkedChannel['channel'];
}

export interface Called {
  /** At the callee's. */
  call: Call;
  dialing: Dialing;
  channel: ParkedChannel['channel'];
}

/**
 * A media node, a control process, and two telephones: one calls in, the other stands where the node believes
 * Kamailio.
 */
export class Rig {
  readonly node: TestNode;
  readonly phone: Phone;
  readonly callee: Phone;
  readonly folder: string;
  readonly #proxy: EslProxy;
  readonly #placed: ParkedChannel[] = [];
  control: Control;

  private constructor(parts: {
    node: TestNode;
    phone: Phone;
    callee: Phone;
    folder: string;
    proxy: EslProxy;
  }) {
    this.node = parts.node;
    this.phone = parts.phone;
    this.callee = parts.callee;
    this.folder = parts.folder;
    this.#proxy = parts.proxy;
    this.control = this.#newControl();
  }

  static async open(kind: TestNode['kind']): Promise<Rig> {
    const node = await TestNode.start(kind);
    const [phone, callee] = await Promise.all([
      Phone.open({ address: '127.0.0.1' }),
      Phone.open({ address: '127.0.0.1' }),
    ]);
    return new Rig({
      node,
      phone,
      callee,
      folder: await mkdtemp(join(tmpdir(), 'media-files-')),
      proxy: await EslProxy.to(node),
    });
  }

  /** An answered call. @param sound what the caller says. */
  async caller(sound: SoundSource = tone(600)): Promise<Caller> {
    await this.control.media.reconciled;
    const count = this.control.parked.length + 1;
    const call = await this.phone.call({
      to: '+15551230001',
      from: '+15552000',
      via: this.node.sip,
      headers: [['X-MV-Call-ID', `call_${count}`]],
      sound,
    });
    const parked = await this.control.next(count);
    await parked.channel.answer();
    await call.answered();
    return { call, parked, channel: parked.channel };
  }

  /** Places a call, which the callee gets. */
  async place(more: Partial<OriginateRequest> = {}): Promise<Dialing> {
    await this.control.media.reconciled;
    const dialing = await this.control.media.originate({
      uuid: randomUUID(),
      uris: ['sip:+15557777@192.0.2.7'],
      from: '+15551230001',
      ringSeconds: 20,
      headers: { 'X-MV-Call-ID': 'call_1' },
      ...more,
    });
    this.#placed.push(dialing.parked);
    return dialing;
  }

  /** A call that is placed, with its INVITE at the callee, who does what the test says. */
  async invited(more: Partial<OriginateRequest> = {}): Promise<{ call: Call; dialing: Dialing }> {
    this.callee.listen('manual', { sound: () => tone(1000) });
    const dialing = await this.place(more);
    return { dialing, call: await this.callee.incoming() };
  }

  /** A call that is placed and answered. */
  async called(): Promise<Called> {
    const dialing = await this.place();
    const call = await this.callee.incoming();
    if (!(await dialing.answered)) throw new Error(`not answered: ${call.story()}`);
    return { call, dialing, channel: dialing.parked.channel };
  }

  /** The control process dies, and another takes over; resolves with what it finds. */
  async restart(): Promise<ParkedChannel> {
    await this.control.media.stop();
    this.control = this.#newControl();
    return this.control.next();
  }

  /** The connection to the node is lost for as long as `meanwhile` takes. */
  async without(meanwhile: () => Promise<unknown>): Promise<void> {
    this.#proxy.cut();
    try {
      while (this.control.media.nodes()[0]?.connected) await setImmediate();
      await meanwhile();
    } finally {
      this.#proxy.mend();
    }
  }

  /** Ends the calls of a test. @throws Error when the node has a channel or a room left after that. */
  async clear(): Promise<void> {
    const { media } = this.control;
    const calls = [
      ...this.control.parked,
      ...this.#placed.splice(0).filter(({ channel }) => media.mayHave(channel.uuid)),
    ];
    for (const { channel } of calls) await channel.hangup('NORMAL_CLEARING').catch(() => undefined);
    await Promise.all(this.control.parked.map(({ channel }) => channel.ended));
    await this.control.media.stop();
    await this.#empty();
    this.control = this.#newControl();
  }

  /** Says something to the node that no driver does. */
  async command(command: string): Promise<string> {
    const connection = await this.#connection();
    try {
      return await connection.api(command);
    } finally {
      connection.close();
    }
  }

  #connection(): Promise<EslConnection> {
    return EslConnection.open({
      host: this.node.host,
      port: this.node.eslPort,
      password: PASSWORD,
      events: [],
      maxPending: 10,
      openMs: 3000,
      commandMs: 3000,
      keepAliveMs: 60_000,
      onEvent: () => undefined,
      onClose: () => undefined,
    });
  }

  async #empty(): Promise<void> {
    const connection = await this.#connection();
    try {
      for (const until = Date.now() + 3000; ;) {
        const left = [
          ...(await listChannels(connection)),
          ...(await connection.api('conference list'))
            .split('\n')
            .filter((line) => line.startsWith('Conference')),
        ];
        if (left.length === 0) return;
        if (Date.now() > until) throw new Error(`left on the node: ${left.join(', ')}`);
        await setImmediate();
      }
    } finally {
      connection.close();
    }
  }

  async close(): Promise<void> {
    await this.control.media.stop();
    this.#proxy.close();
    await Promise.all([this.phone.close(), this.callee.close()]);
    await this.node.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  #newControl(): Control {
    return new Control(this.node, {
      eslPort: this.#proxy.port,
      kamailio: `${this.callee.address}:${this.callee.port}`,
    });
  }
}

/** What something failed with, or undefined. */
export const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

/** How a placed call ended, without the time. */
export async function endOf({ parked: { channel } }: Dialing): Promise<string> {
  const { by, cause, sipCode } = await channel.ended;
  return `${by} ${cause} ${sipCode ?? '-'}`;
}

/** What was sent to a telephone for this call, in order: methods, and codes of responses. */
export const gets = (call: Call): string[] =>
  call.messages.filter(({ received }) => received).map(({ text }) => text.split(' ', 1)[0] ?? '');

/** A file of a tone. */
export const wav = (frequency: number, seconds: number): Buffer =>
  writeWav({
    rate: 8000,
    samples: Int16Array.from({ length: 8000 * seconds }, (_, i) =>
      Math.round(8000 * Math.sin((2 * Math.PI * frequency * i) / 8000)),
    ),
  });

/** Both sides of a recording, to be asked as a telephone's ear is. */
export async function recorded(file: string): Promise<{ left: Heard; right: Heard }> {
  const body = await readFile(file);
  const format = body.indexOf('fmt ');
  const data = body.indexOf('data');
  const [channels, rate, bits] = [
    body.readUInt16LE(format + 10),
    body.readUInt32LE(format + 12),
    body.readUInt16LE(format + 22),
  ];
  const size = body.readUInt32LE(data + 4);
  if (channels !== 2 || rate !== 8000 || bits !== 16)
    throw new Error(`${channels} channels of ${bits} bits at ${rate} Hz`);
  if (data + 8 + size !== body.length)
    throw new Error(`an unfinished file: ${size} bytes of audio in ${body.length}`);
  const side = (offset: number): Heard => {
    const heard = new Heard();
    heard.add(
      Int16Array.from({ length: size / 4 }, (_, i) => body.readInt16LE(data + 8 + i * 4 + offset)),
      { ssrc: 1, timestamp: 0 },
      0,
    );
    return heard;
  };
  return { left: side(0), right: side(2) };
}

export { hearsMusic, hearsNothing, hearsTone } from '../../support/hears.ts';
