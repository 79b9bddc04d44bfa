import type { Channel, Placed } from '../channel/channel.ts';
import type { DialString } from '../channel/dial-string.ts';
import type { Rooms } from '../conference/room.ts';
import type { EventHub } from '../esl/events.ts';
import type { LoadFigures } from '../load.ts';

/** The node as API commands see it. */
export interface Node {
  readonly channels: ReadonlyMap<string, Channel>;
  readonly hub: EventHub;
  readonly rooms: Rooms;
  readonly load: LoadFigures;
  readonly maxSessions: number;
  readonly globals: ReadonlyMap<string, string>;
  readonly paused: { inbound: boolean; outbound: boolean };
  readonly stopping: boolean;
  readonly uptimeMicros: number;
  onShutdownRequested: () => void;
  place(dial: DialString): Placed | string;
}
