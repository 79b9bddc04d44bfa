import { setTimeout as sleep } from 'node:timers/promises';
import { done, until, type Json, type Tenant } from '../../e2e/platform.ts';
import type { Call, Phone } from '../../support/phone.ts';
import type { HostPort } from '../../../cli/phone/sip-message.ts';

/** Who can be called, and what the application streams to. */
export interface World {
  own: Tenant;
  sip: HostPort;
  caller: Phone;
  /** SIP URIs of phones that answer, are busy, and ring for ever. */
  answers: string;
  busy: string;
  rings: string;
  streams: string;
}

/** One kind of call: what the application says, and what the caller does, to the end of the call. */
export interface Kind {
  actions(world: World, call: number): unknown[];
  /** The application takes so long to say it, in ms. */
  delayMs?: number;
  act(call: Call, world: World, from: string): Promise<unknown>;
}

const PATIENCE_MS = 60_000;
const LONG =
  'This announcement takes some time, and most of those who hear it hang up somewhere in the middle of it, at a moment nobody knows.';
const some = (leastMs: number, mostMs: number): Promise<void> =>
  sleep(leastMs + Math.random() * (mostMs - leastMs));
const toItsEnd = (call: Call) => call.ended(PATIENCE_MS);
const answered = (call: Call) => call.answered(PATIENCE_MS);

/** Answered, and hung up by the caller at some moment unless it is over by then. */
async function leaves(call: Call, leastMs: number, mostMs: number): Promise<void> {
  await answered(call);
  await some(leastMs, mostMs);
  if (!call.isOver) await call.hangup();
}

/** The call's id, once it is written. */
const idOf = ({ key }: Tenant, from: string): Promise<string> =>
  until(async () => {
    const [call] = (await done('GET', `/v1/calls?from=${encodeURIComponent(from)}`, undefined, key))
      .data as Json[];
    return call && String(call.id);
  }, `the call from ${from}`);

export const KINDS: Record<string, Kind> = {
  say: {
    actions: () => [{ say: { text: 'Thanks for calling.' } }],
    act: async (call) => {
      await answered(call);
      await toItsEnd(call);
    },
  },
  gather: {
    actions: ({ own }) => [
      { gather: { num_digits: 1, timeout_seconds: 10 } },
      { redirect: { url: `${own.server.base}/next` } },
    ],
    act: async (call) => {
      await answered(call);
      await some(300, 800);
      await call.press('1');
      await toItsEnd(call);
    },
  },
  transfer: {
    actions: ({ answers }) => [{ transfer: { destination: answers } }],
    act: (call) => leaves(call, 1000, 3000),
  },
  'bridge, busy': {
    actions: ({ busy }) => [{ bridge: { destination: busy } }, { say: { text: 'They are busy.' } }],
    act: async (call) => {
      await answered(call);
      await toItsEnd(call);
    },
  },
  'transfer, busy': {
    actions: ({ busy }) => [{ transfer: { destination: busy } }],
    act: async (call) => {
      await answered(call);
      await toItsEnd(call);
    },
  },
  'left while it rings': {
    actions: ({ rings }) => [{ bridge: { destination: rings } }],
    act: (call) => leaves(call, 0, 1500),
  },
  record: {
    actions: () => [{ start_recording: {} }, { pause: { seconds: 1.5 } }, { stop_recording: {} }],
    act: async (call) => {
      await answered(call);
      await toItsEnd(call);
    },
  },
  'left while it records': {
    actions: () => [{ start_recording: {} }, { say: { text: LONG } }],
    act: (call) => leaves(call, 0, 3000),
  },
  conference: {
    actions: (_world, call) => [{ conference: { room: `room${call % 7}` } }],
    act: (call) => leaves(call, 500, 4000),
  },
  stream: {
    actions: ({ streams }) => [{ start_stream: { stream_url: streams } }, { say: { text: LONG } }],
    act: (call) => leaves(call, 500, 3000),
  },
  'left at any moment': {
    actions: () => [{ say: { text: LONG } }, { gather: { prompt: 'Press a key.' } }],
    act: (call) => leaves(call, 0, 5000),
  },
  cancelled: {
    actions: () => [{ say: { text: 'Hardly anybody hears this.' } }],
    delayMs: 600,
    act: async (call) => {
      await some(0, 700);
      await call.cancel(PATIENCE_MS);
      await call.final(PATIENCE_MS);
    },
  },
  'hung up by the API': {
    actions: () => [{ pause: { seconds: 30 } }],
    act: async (call, { own }, from) => {
      await answered(call);
      const id = await idOf(own, from);
      await done('POST', `/v1/calls/${id}/hangup`, {}, own.key);
      await toItsEnd(call);
    },
  },
  'replaced by the API': {
    actions: () => [{ pause: { seconds: 30 } }],
    act: async (call, { own }, from) => {
      await answered(call);
      const id = await idOf(own, from);
      await done(
        'POST',
        `/v1/calls/${id}/actions`,
        { actions: [{ say: { text: 'Something else.' } }] },
        own.key,
      );
      await toItsEnd(call);
    },
  },
  rejected: { actions: () => [{ reject: { sip_code: 486 } }], act: (call) => call.final(PATIENCE_MS) },
};
