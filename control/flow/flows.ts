import type { Call } from '../calls/call.ts';
import type { ParkedChannel, Ringing } from '../media/media.ts';
import type { Step } from './action.ts';
import { Flow } from './flow.ts';
import type { FlowServices } from './services.ts';

/** The flows that run in this process, by call. */
export class Flows {
  readonly #services: FlowServices;
  readonly #running = new Map<string, Flow>();

  constructor(services: FlowServices) {
    this.#services = services;
    services.calls.lifecycle.afterEnd('flow', (call) => this.#forget(call));
  }

  get size(): number {
    return this.#running.size;
  }

  get(callId: string): Flow | undefined {
    return this.#running.get(callId);
  }

  /** Begins a flow before its channel exists: the answer_url is asked while media is set up. */
  begin(call: Call): void {
    const flow = this.#make(call);
    flow.prefetch();
  }

  /**
   * Makes the flow of a call that is about to be placed: it can be hung up, and given other actions, from
   * here on.
   * @param steps what it does once it is answered, where no answer_url is to be asked
   */
  expect(call: Call, steps?: Step[]): void {
    this.#make(call, steps);
  }

  /**
   * Gives a flow its channel.
   * @param dialing of an outbound call that is not answered yet
   */
  run(call: Call, parked: ParkedChannel, dialing?: Ringing): void {
    const flow = this.#running.get(call.id) ?? this.#make(call);
    // A call that was over before its channel was there is not told of as ended again.
    void flow.run(parked, dialing).then(() => {
      if (this.#running.get(call.id) === flow) this.#running.delete(call.id);
    });
  }

  #make(call: Call, steps?: Step[]): Flow {
    const flow = new Flow(call, this.#services, steps);
    this.#running.set(call.id, flow);
    return flow;
  }

  /** The call has ended: nothing of its flow stays, and a request under way is given up. */
  #forget({ id, routeMode }: Call): void {
    const flow = this.#running.get(id);
    if (flow) flow.cancel();
    // It has run in an earlier life, and ended unseen.
    else if (routeMode === 'webhook') this.#services.states.forget(id);
    this.#running.delete(id);
  }
}
