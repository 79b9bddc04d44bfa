import { randomUUID } from 'node:crypto';
import type { Call } from './call.ts';

/** Begins the application `park`: from here on the channel takes messages. */
export function park(channel: Call): void {
  channel.variables.set('current_application', 'park');
  channel.variables.set('current_application_data', undefined);
  channel.lastApplication = { name: 'park', data: '' };
  channel.park = { Application: 'park', 'Application-UUID': randomUUID() };
  channel.emit(
    'CHANNEL_EXECUTE',
    { file: 'switch_core_session.c', fn: 'switch_core_session_exec', line: 2929 },
    channel.park,
  );
  channel.emit('CHANNEL_PARK', { file: 'switch_ivr.c', fn: 'switch_ivr_park', line: 1002 });
  channel.executor.park();
}
