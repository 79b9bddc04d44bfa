import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { z } from 'zod';

/** rtpengine refused, or did not answer. */
export class RtpengineError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'RtpengineError';
  }
}

/** rtpengine has understood, and refused: for a question about a call, because it has none of this id. */
class RtpengineRefusal extends RtpengineError {}

/**
 * How long one try waits, in ms. rtpengine answers a repeated cookie from memory, so trying again repeats
 * nothing.
 */
const TRY_MS = 300;
const TRIES = 3;

// The reply to `statistics` alone says nothing of a result.
const Reply = z.looseObject({ result: z.string().default('ok'), 'error-reason': z.string().optional() });
type Reply = z.infer<typeof Reply>;
type Body = { command: string } & Record<string, unknown>;

/** The control protocol ("ng") of one or more rtpengines, in its JSON form over UDP. */
export class Rtpengine {
  readonly #addresses: readonly { host: string; port: number }[];
  readonly #waiting = new Map<string, (text: string) => void>();
  #socket: Promise<Socket> | undefined;
  #closed = false;

  constructor(addresses: readonly { host: string; port: number }[]) {
    this.#addresses = addresses;
  }

  /** Questions without an answer yet. */
  get pending(): number {
    return this.#waiting.size;
  }

  /**
   * The participants of a call, and the rtpengine that has it.
   * @throws RtpengineError when no rtpengine has it
   */
  async find(callId: string): Promise<{ ask: (body: Body) => Promise<Reply>; tags: Tags }> {
    let failure = new RtpengineError('no rtpengine is configured');
    for (const address of this.#addresses) {
      try {
        const { tags } = Queried.parse(await this.#ask(address, { command: 'query', 'call-id': callId }));
        return { ask: (body) => this.#ask(address, { 'call-id': callId, ...body }), tags };
      } catch (error) {
        failure =
          error instanceof RtpengineError
            ? error
            : new RtpengineError('rtpengine has answered something else');
      }
    }
    throw failure;
  }

  /**
   * Whether there is audio of a call; undefined where that cannot be said, since an rtpengine does not answer
   * or has been started later.
   * @param since when the audio would have been set up
   */
  async knows(callId: string, since: Date): Promise<boolean | undefined> {
    let certain = true;
    for (const address of this.#addresses) {
      try {
        await this.#ask(address, { command: 'query', 'call-id': callId });
        return true;
      } catch (error) {
        const { totalstatistics } =
          error instanceof RtpengineRefusal
            ? Statistics.parse(await this.#ask(address, { command: 'statistics' }).catch(() => ({})))
                .statistics
            : NOTHING;
        if (!totalstatistics || Date.now() - (totalstatistics.uptime - 1) * 1000 > since.getTime())
          certain = false;
      }
    }
    return certain ? false : undefined;
  }

  /**
   * The participants of a call. `unknown`: every rtpengine says that it has no such call; undefined: that
   * cannot be said, since one of them does not answer.
   */
  async look(callId: string): Promise<Tags | 'unknown' | undefined> {
    let certain = true;
    for (const address of this.#addresses) {
      try {
        return Queried.parse(await this.#ask(address, { command: 'query', 'call-id': callId })).tags;
      } catch (error) {
        if (!(error instanceof RtpengineRefusal)) certain = false;
      }
    }
    return certain ? 'unknown' : undefined;
  }

  /**
   * The calls that the rtpengines have, some hundreds of them at most: as many as a datagram has room for.
   */
  async list(): Promise<string[]> {
    const lists = await Promise.all(
      this.#addresses.map((address) =>
        this.#ask(address, { command: 'list', limit: LISTED }).catch(() => undefined),
      ),
    );
    return lists.flatMap((list) => z.array(z.string()).safeParse(list?.['calls']).data ?? []);
  }

  /**
   * Ends the audio of a call, wherever it is. Never rejects: what is missed is ended by rtpengine itself,
   * when it has been silent.
   */
  async forget(callId: string): Promise<void> {
    await Promise.allSettled(
      this.#addresses.map((address) => this.#ask(address, { command: 'delete', 'call-id': callId })),
    );
  }

  /** How each rtpengine is: nothing but its address where it does not answer. */
  async status(): Promise<
    { address: string; sessions?: number | undefined; uptimeSeconds?: number | undefined }[]
  > {
    return Promise.all(
      this.#addresses.map(async (at) => {
        const address = `${at.host}:${at.port}`;
        try {
          const { statistics } = Statistics.parse(await this.#ask(at, { command: 'statistics' }));
          return {
            address,
            sessions: statistics.currentstatistics?.sessionstotal,
            uptimeSeconds: statistics.totalstatistics?.uptime,
          };
        } catch {
          return { address };
        }
      }),
    );
  }

  /** Whether any rtpengine answers. */
  async answers(): Promise<boolean> {
    const asked = this.#addresses.map((address) =>
      this.#ask(address, { command: 'ping' }).then(
        () => true,
        () => false,
      ),
    );
    return (await Promise.all(asked)).includes(true);
  }

  close(): void {
    this.#closed = true;
    for (const settle of this.#waiting.values()) settle('');
    void this.#socket?.then((socket) => socket.close());
  }

  async #ask({ host, port }: { host: string; port: number }, body: Body): Promise<Reply> {
    if (this.#closed) throw new RtpengineError('closed');
    const socket = await (this.#socket ??= this.#open());
    const cookie = randomBytes(9).toString('hex');
    const text = `${cookie} ${JSON.stringify(body)}`;
    const answer = new Promise<string>((resolve) => this.#waiting.set(cookie, resolve));
    let timer: NodeJS.Timeout | undefined;
    let tries = 0;
    try {
      const silence = new Promise<string>((resolve) => {
        const send = (): void => {
          if (++tries > TRIES) return resolve('');
          socket.send(text, port, host, () => undefined); // What cannot be sent has no answer either.
          timer = setTimeout(send, TRY_MS);
        };
        send();
      });
      return read(await Promise.race([answer, silence]), body.command);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(cookie);
    }
  }

  #open(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = createSocket('udp4');
      socket.once('error', reject);
      socket.on('message', (datagram) => {
        const text = datagram.toString('utf8');
        const space = text.indexOf(' ');
        this.#waiting.get(text.slice(0, space))?.(text.slice(space + 1));
      });
      socket.bind(0, () => {
        socket.on('error', () => undefined);
        socket.unref();
        resolve(socket);
      });
    });
  }
}

function read(text: string, command: string): Reply {
  if (text === '') throw new RtpengineError('rtpengine does not answer');
  let reply: Reply;
  try {
    reply = Reply.parse(JSON.parse(text));
  } catch {
    throw new RtpengineError(`rtpengine has answered "${command}" with something else`);
  }
  if (reply.result === 'error')
    throw new RtpengineRefusal(
      `rtpengine refused "${command}": ${reply['error-reason'] ?? 'no reason given'}`,
    );
  return reply;
}

/** Calls named in one reply, which is a UDP datagram. */
const LISTED = 800;

const Stream = z.looseObject({ 'last packet': z.number().default(0) });
const Media = z.looseObject({
  type: z.string().default(''),
  flags: z.array(z.string()).default([]),
  streams: z.array(Stream).default([]),
});
const Tags = z.record(
  z.string(),
  z.looseObject({
    subscriptions: z.array(z.looseObject({ tag: z.string(), type: z.string() })).default([]),
    medias: z.array(Media).default([]),
  }),
);
export type Tags = z.infer<typeof Tags>;
const NOTHING = { totalstatistics: undefined, currentstatistics: undefined };
/** Uptime in s. */
const Statistics = z.looseObject({
  statistics: z
    .looseObject({
      totalstatistics: z.looseObject({ uptime: z.coerce.number() }).optional(),
      currentstatistics: z.looseObject({ sessionstotal: z.number() }).optional(),
    })
    .default(NOTHING),
});
const Queried = z.looseObject({ tags: Tags });

/**
 * Who of a call's participants is the media node, and who is at the far end of it: the caller, or whom we
 * have called.
 * @param dialog the leg's as the media node has it
 * @throws RtpengineError when it has only one side: the answer has not come to it yet, and an offer has no
 * tag for who will answer
 */
export function sidesOf(
  tags: Tags,
  dialog: { fromTag: string; toTag: string },
  direction: 'inbound' | 'outbound',
): { node: string; far: string } {
  const [ours, theirs] =
    direction === 'inbound' ? [dialog.toTag, dialog.fromTag] : [dialog.fromTag, dialog.toTag];
  const peerOf = (tag: string): string | undefined =>
    tags[tag]?.subscriptions.find(({ type }) => type === 'offer/answer')?.tag || undefined;
  const node = tags[ours] ? ours : peerOf(theirs);
  // After an offer to several the answer has left one.
  const far = node === undefined ? undefined : (peerOf(node) ?? (tags[theirs] ? theirs : undefined));
  if (node === undefined || far === undefined)
    throw new RtpengineError('rtpengine does not have both sides of the call');
  return { node, far };
}

/** Of our own making, for media streams: they are no sides of a call. */
const OWN_TAG = /^minivoice-/;

/** The tags of a call's sides. */
export const sideTags = (tags: Tags): string[] => Object.keys(tags).filter((tag) => !OWN_TAG.test(tag));

/** When the last packet came from a side, audio or RTCP: by rtpengine's clock, in s. */
export const lastPacketOf = (tags: Tags, tag: string): number =>
  Math.max(
    0,
    ...(tags[tag]?.medias ?? []).flatMap(({ streams }) => streams.map((stream) => stream['last packet'])),
  );

/** Whether the call is on hold: one of its sides has said that it does not send, or does not listen. */
export const isHeld = (tags: Tags): boolean =>
  sideTags(tags).some((tag) =>
    (tags[tag]?.medias ?? []).some(
      ({ type, flags }) => type === 'audio' && !(flags.includes('send') && flags.includes('recv')),
    ),
  );
