import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Calls } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import type { Change } from '../../../control/calls/journal.ts';
import { Flow } from '../../../control/flow/flow.ts';
import type { FlowServices } from '../../../control/flow/services.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import type { FlowState } from '../../../control/flow/state.ts';
import { Ids } from '../../../control/lib/ids.ts';
import type { ParkedChannel } from '../../../control/media/media.ts';
import { FakeChannel } from './fake-channel.ts';

export const ANSWER_URL = 'https://example.com/answer';

export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Waits until a condition holds; the test's own timeout is its bound. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

/**
 * An inbound call and all that its flow is given, made up: what was asked for and told is kept, and does what
 * the test says.
 */
export class FlowRig {
  readonly channel = new FakeChannel();
  readonly changes: Change[] = [];
  readonly saved = new Map<string, FlowState>();
  /** What a URL answers with: actions, or the error of asking it. */
  readonly answers: Record<string, unknown> = {};
  readonly asked: { url: string; method: string; digits?: string }[] = [];
  /** What was told to those who charge for it. */
  readonly paid: string[] = [];
  /** What the call, and a second leg, is refused with. */
  unpaid: Error | undefined;
  refusal: Error | undefined;
  readonly calls = new Calls({
    lifecycle: new Lifecycle(pino({ enabled: false })),
    ids: new Ids(0),
    journal: {
      accepting: true,
      append: (c: Change) => this.changes.push(c),
      onCommit: () => undefined,
    } as never,
    hasWebhook: () => true,
  });
  readonly call: Call = this.calls.createInbound({
    customerId: 'cust_1',
    applicationId: 'app_1',
    from: '+15551230001',
    to: '+15551230002',
    routeMode: 'webhook',
    routingTarget: 'app_1',
    answerUrl: ANSWER_URL,
  });

  services(): FlowServices {
    const watch = {
      routed: (id: string) => void this.paid.push(`leg over ${id}`),
      answered: () => void this.paid.push('leg answered'),
      ended: () => void this.paid.push('leg ended'),
      gone: () => void this.paid.push('leg gone'),
    };
    return {
      calls: this.calls,
      states: {
        save: (id: string, state: FlowState) => this.saved.set(id, structuredClone(state)),
        load: (id: string) => Promise.resolve(this.saved.get(id)),
        forget: (id: string) => this.saved.delete(id),
      } as never,
      ask: ({ url, method, gathered }) => {
        this.asked.push({ url, method, digits: gathered?.digits });
        const answer = this.answers[url];
        return answer instanceof Error
          ? Promise.reject(answer)
          : Promise.resolve(parseActions({ actions: answer }));
      },
      answerMethodOf: () => 'GET',
      speak: (text) => Promise.resolve(`/prompts/${text}.wav`),
      prepare: () => undefined,
      fetchAudio: (url) => Promise.resolve(`/audio/${encodeURIComponent(url)}`),
      admission: {
        admitInbound: () =>
          this.unpaid ? Promise.reject(this.unpaid) : Promise.resolve(void this.paid.push('call')),
        moved: (_id, leg, trunkId) => void this.paid.push(`leg ${leg} over ${trunkId}`),
      },
      legs: {
        place: (_call, destination, from) => {
          if (this.refusal) return Promise.reject(this.refusal);
          return Promise.resolve(
            destination === '+15550000'
              ? undefined
              : {
                  ...watch,
                  route: { uris: [`sip:${destination}@carrier`], from: from ?? '+15551230001', headers: {} },
                },
          );
        },
        resumed: () => watch,
      },
      recorder: {
        start: () => Promise.resolve(void this.channel.asked.push('start recording')),
        stop: () => Promise.reject(new Error('recording is not currently started')),
        resumed: () => Promise.resolve(),
      },
      streamer: {
        start: (_call, _channel, _dialog, { url, track }) =>
          url.includes('refused')
            ? Promise.reject(new Error('rtpengine does not answer'))
            : Promise.resolve(`${track} to ${url}`),
        stop: (_call, { url, track }) => Promise.resolve(url === undefined && track === undefined ? 4 : 1),
        resumed: () => Promise.resolve(),
      },
      conferences: {
        stay: (_call, on, { room, mute, endOnExit, began, adopted }) => {
          if (!adopted) began();
          return adopted?.finished ?? on.conference(`app_1-${room}`, { mute, endOnExit });
        },
      },
      logger: pino({ enabled: false }),
    };
  }

  park(adopted?: ParkedChannel['adopted']): ParkedChannel {
    return { channel: this.channel, headers: {}, dialog: { callId: '', fromTag: '', toTag: '' }, adopted };
  }

  /** A flow that is going on with these actions. */
  start(...actions: unknown[]): { flow: Flow; running: Promise<void> } {
    this.answers[ANSWER_URL] = actions;
    const flow = new Flow(this.call, this.services());
    return { flow, running: flow.run(this.park()) };
  }

  /** The same, to its end. */
  run(...actions: unknown[]): Promise<void> {
    return this.start(...actions).running;
  }

  /** The timeline so far. */
  get entries(): Change['timeline'] {
    return this.changes.flatMap(({ timeline }) => timeline);
  }

  get kinds(): string[] {
    return this.entries.map(({ kind }) => kind);
  }

  /** What was told of gathers. */
  get gathered(): Record<string, unknown>[] {
    return this.entries.filter(({ kind }) => kind === 'call.gathered').map(({ detail }) => detail);
  }
}
