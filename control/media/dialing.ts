import { deferred } from '../lib/deferred.ts';
import { isAnswered, rangBefore, trunkOf, type ChannelHeaders } from './channel-state.ts';
import type { Ringing } from './media.ts';

/** How far an outbound call has come, from what the node tells of its channel. */
export class Progress implements Ringing {
  readonly #ringing = deferred<void>();
  readonly #answered = deferred<boolean>();
  readonly #parked: () => void;
  #pending = true;
  #trunk: string | undefined;

  /** @param parked called when the far end has answered and the node waits for instructions. */
  constructor(parked: () => void) {
    this.#parked = parked;
  }

  get ringing(): Promise<void> {
    return this.#ringing.promise;
  }

  get answered(): Promise<boolean> {
    return this.#answered.promise;
  }

  /** Neither answered and parked nor ended. */
  get pending(): boolean {
    return this.#pending;
  }

  trunkId(): string | undefined {
    return this.#trunk;
  }

  /** Any event of the channel's, or what the node says of it now. Until it ends: `ended`. */
  told(channel: ChannelHeaders): void {
    this.#trunk = trunkOf(channel) ?? this.#trunk;
    if (!this.#pending) return;
    if (rangBefore(channel)) this.#ringing.resolve();
    if (isParked(channel)) {
      this.#pending = false;
      this.#parked();
      this.#answered.resolve(true);
    }
  }

  /** Its last event, where there was one. */
  ended(channel?: ChannelHeaders): void {
    if (channel) this.#trunk = trunkOf(channel) ?? this.#trunk;
    this.#pending = false;
    this.#answered.resolve(false);
  }
}

/**
 * Answered, and what it does next has been begun: before that the node still holds it in the middle of
 * placing it.
 */
export const isParked = (channel: ChannelHeaders): boolean =>
  isAnswered(channel) && channel.variable_current_application !== undefined;
