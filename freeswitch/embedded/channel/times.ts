import { localStamp } from '../esl/events.ts';
import type { Variables } from './variables.ts';

/** When what happened to a channel, in microseconds since the epoch; 0 for not yet. */
export interface ChannelTimes {
  created: number;
  answered: number;
  progress: number;
  progressMedia: number;
  bridged: number;
  hungup: number;
}

/** Sets the stamps and durations a finished channel reports, in the three resolutions FreeSWITCH has. */
export function setTimeVariables(variables: Variables, times: ChannelTimes, callerId: string): void {
  const seconds = (micros: number): number => Math.floor(micros / 1_000_000);
  const { created, answered, progress, progressMedia, hungup } = times;
  const points: [string, number][] = [
    ['start', created],
    ['profile_start', created],
    ['answer', answered],
    ['progress', progress],
    ['progress_media', progressMedia],
    ['end', hungup],
  ];
  for (const [name, micros] of points) if (micros > 0) variables.set(`${name}_stamp`, localStamp(micros));
  for (const [name, micros] of points) {
    variables.set(`${name}_epoch`, seconds(micros));
    variables.set(`${name}_uepoch`, micros);
  }
  variables.set('last_app', variables.get('current_application'));
  variables.set('caller_id', callerId);
  // Whole seconds are the difference of whole seconds, as FreeSWITCH counts them; the finer ones are exact.
  const spans: [string, number, number][] = [
    ['duration', created, hungup],
    ['billsec', answered, hungup],
    ['progresssec', created, progress],
    ['answersec', created, answered],
    ['waitsec', created, answered],
    ['progress_mediasec', created, progressMedia],
    ['flow_billsec', created, hungup],
  ];
  const stems: [string, string, string][] = [
    ['duration', 'mduration', 'uduration'],
    ['billsec', 'billmsec', 'billusec'],
    ['progresssec', 'progressmsec', 'progressusec'],
    ['answersec', 'answermsec', 'answerusec'],
    ['waitsec', 'waitmsec', 'waitusec'],
    ['progress_mediasec', 'progress_mediamsec', 'progress_mediausec'],
    ['flow_billsec', 'flow_billmsec', 'flow_billusec'],
  ];
  for (const [index, [, from, to]] of spans.entries()) {
    const [whole = '', milli = '', micro = ''] = stems[index] ?? [];
    const known = from > 0 && to > 0;
    variables.set(whole, known ? seconds(to) - seconds(from) : 0);
    variables.set(milli, known ? Math.floor((to - from) / 1000) : 0);
    variables.set(micro, known ? to - from : 0);
  }
}
