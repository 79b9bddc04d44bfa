import { callEvents, legEvents, testEvent } from '../../control/calls/event-schemas.ts';
import type { EventDoc } from '../../control/http/sent-requests.ts';
import { recordingEvents } from '../../control/recordings/event-schemas.ts';
import { streamEvents } from '../../control/streams/event-schemas.ts';

/** Every event as it is documented, by name. */
export const EVENTS: Readonly<Record<string, EventDoc>> = {
  ...callEvents,
  ...legEvents,
  ...recordingEvents,
  ...streamEvents,
  ...testEvent,
};

/**
 * Holds what was really sent against the documentation: every field is documented, and as it says.
 * @throws Error saying what does not match
 */
export function checkEvent(body: unknown): void {
  const event = (body as { event?: unknown }).event;
  const documented = typeof event === 'string' ? EVENTS[event] : undefined;
  if (!documented) throw new Error(`the event ${String(event)} is not documented`);
  const result = documented.schema.safeParse(body);
  if (!result.success)
    throw new Error(
      `${String(event)} is not as documented: ${result.error.message}\n${JSON.stringify(body)}`,
    );
}
