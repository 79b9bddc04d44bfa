import { z } from 'zod';
import { deferred } from '../../lib/deferred.ts';
import { ChannelGone, type Digit } from '../../media/media.ts';
import { action, CONTINUE, type FlowContext, type Outcome, type Resumed } from '../action.ts';
import { speech } from '../fields.ts';

const digitCount = z.int().min(1).max(64);

const schema = z
  .strictObject({
    prompt: speech.optional().describe('spoken first; a key pressed during it stops it and counts'),
    num_digits: digitCount
      .optional()
      .describe('exactly so many digits; 1 when neither this nor a range is given'),
    max_digits: digitCount
      .optional()
      .describe('in place of `num_digits`: at most so many; 64 with `min_digits` alone'),
    min_digits: z
      .int()
      .min(0)
      .max(64)
      .optional()
      .describe('in place of `num_digits`: at least so many; 1 with `max_digits` alone'),
    timeout_seconds: z
      .number()
      .min(1)
      .max(30)
      .default(5)
      .describe("from the prompt's end to the first key, then from key to key"),
    finish_on_key: z
      .string()
      .regex(/^[0-9*#A-D]?$/, 'must be one DTMF key, or empty for none')
      .default('#')
      .describe('the key that ends the digits and is none of them; empty for none'),
  })
  .refine((f) => f.num_digits === undefined || (f.max_digits === undefined && f.min_digits === undefined), {
    path: ['num_digits'],
    message: 'means exactly that many digits: leave out max_digits and min_digits, or num_digits',
  })
  .refine((f) => (f.min_digits ?? 0) <= (f.max_digits ?? 64), {
    path: ['min_digits'],
    message: 'must not be larger than max_digits',
  });

type Fields = z.infer<typeof schema>;
interface Result {
  status: 'completed' | 'timeout' | 'too_few_digits' | 'hangup';
  timedOut: boolean;
}

/** `num_digits` means exactly that many, one by default; `max_digits` and `min_digits` make it a range. */
function range({ num_digits, min_digits, max_digits }: Fields): { least: number; most: number } {
  if (max_digits === undefined && min_digits === undefined)
    return { least: num_digits ?? 1, most: num_digits ?? 1 };
  return { least: min_digits ?? 1, most: max_digits ?? 64 };
}

/**
 * Collects DTMF. The keys are collected here and not on the media node, so that one rule holds on every node:
 * a key during the prompt stops it and counts; the timeout runs from the prompt's end to the first key, then
 * between keys.
 */
export const gather = action<Fields>({
  name: 'gather',
  summary:
    'Collects digits that the caller presses (RFC 4733 or SIP INFO), then the next action. ' +
    'The next request for instructions carries the digits, and so does the event `call.gathered`. ' +
    'To act on them, follow it with a `redirect`.',
  example: { prompt: 'For sales press 1, for support press 2.', num_digits: 1, timeout_seconds: 8 },
  schema,
  prompts: ({ prompt }) => (prompt ? [{ text: prompt }] : []),
  async run(fields, context, resumed): Promise<Outcome> {
    const { call, calls, state } = context;
    const { status, timedOut } = await collect(fields, context, resumed);
    if (context.signal.reason === 'replaced') return CONTINUE; // It came to no end of its own.
    const digits = state.digits;
    state.gathered = { digits, status, timedOut };
    calls.gathered(call, {
      digits,
      status,
      timed_out: timedOut,
      min_digits: range(fields).least,
      max_digits: range(fields).most,
      timeout_seconds: fields.timeout_seconds,
      finish_on_key: fields.finish_on_key,
    });
    if (status === 'hangup') throw new ChannelGone(context.channel.uuid);
    return { next: 'continue', result: { digits, status } };
  },
});

async function collect(fields: Fields, context: FlowContext, resumed?: Resumed): Promise<Result> {
  const { call, calls, channel, state, save, speak, signal } = context;
  const { least, most } = range(fields);
  if (!resumed) state.digits = '';
  const done = deferred<Result>();
  let closed = false;
  const close = (result: Result): void => {
    closed = true; // Keys that come in the same breath as the last one are nobody's.
    done.resolve(result);
  };
  let prompting = false;
  let timer: NodeJS.Timeout | undefined;

  const finish = (timedOut: boolean): void => {
    if (state.digits.length >= Math.max(least, 1)) close({ status: 'completed', timedOut: false });
    else if (timedOut && state.digits === '') close({ status: 'timeout', timedOut });
    else close({ status: state.digits.length >= least ? 'completed' : 'too_few_digits', timedOut });
  };
  const wait = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => finish(true), fields.timeout_seconds * 1000);
  };
  const press = (digit: Digit): void => {
    if (closed) return;
    calls.note(call, 'digit', { digit });
    if (prompting) {
      prompting = false;
      channel.stopPlaying().catch(() => undefined); // The channel's end is seen below.
    }
    if (digit === fields.finish_on_key) return finish(false);
    state.digits += digit;
    save();
    if (state.digits.length >= most) return finish(false);
    wait();
  };
  const gone = (): void => close({ status: 'hangup', timedOut: false });
  /** The end of the prompt, however it comes; a node that cannot play it fails the gather. */
  const prompted = async (playing: Promise<unknown>): Promise<void> => {
    prompting = true;
    const over = playing.catch((error: unknown) =>
      error instanceof ChannelGone ? gone() : done.reject(error),
    );
    await Promise.race([over, done.promise]);
  };

  const stopListening = channel.onDigit(press);
  signal.addEventListener('abort', gone, { once: true });
  if (signal.aborted) gone();
  try {
    if (state.digits.length >= most) finish(false); // Every key had come before this process took over.
    if (resumed?.finished) await prompted(resumed.finished);
    else if (fields.prompt && state.begun < 0) {
      const file = await speak(fields.prompt);
      if (state.digits === '' && !closed) {
        state.begun = 0;
        save();
        await prompted(channel.play(file));
      }
    }
    prompting = false;
    if (state.digits === '') wait();
    return await done.promise;
  } finally {
    clearTimeout(timer);
    stopListening();
    signal.removeEventListener('abort', gone);
  }
}
