import type { ErrorDetail } from '../lib/errors.ts';
import { detailsOf, pathOf, plainWords } from '../lib/zod-path.ts';
import type { Action, Step } from './action.ts';
import { bridge } from './actions/bridge.ts';
import { conference } from './actions/conference.ts';
import { gather } from './actions/gather.ts';
import { hangup } from './actions/hangup.ts';
import { hold, resume } from './actions/hold.ts';
import { mute, unmute } from './actions/mute.ts';
import { pause } from './actions/pause.ts';
import { play } from './actions/play.ts';
import { startRecording, stopRecording } from './actions/recording.ts';
import { redirect } from './actions/redirect.ts';
import { reject } from './actions/reject.ts';
import { say } from './actions/say.ts';
import { sendDigits } from './actions/send-digits.ts';
import { setVariable, unsetVariable } from './actions/set-variable.ts';
import { startStream, stopStream } from './actions/stream.ts';
import { transfer } from './actions/transfer.ts';

/**
 * Every action of the language, by name. Fields have passed the action's own schema before `run` sees them.
 */
export const ACTIONS = new Map<string, Action<unknown>>(
  [
    bridge,
    conference,
    gather,
    hangup,
    hold,
    mute,
    pause,
    play,
    redirect,
    reject,
    resume,
    say,
    sendDigits,
    setVariable,
    startRecording,
    startStream,
    stopRecording,
    stopStream,
    transfer,
    unmute,
    unsetVariable,
  ].map((a) => [a.name, a as Action<unknown>]),
);

/** More actions than any sane flow has; the payload's size is bounded besides. */
export const MOST_ACTIONS = 200;
const MOST_DETAILS = 50;
/**
 * So much of a path is told, in characters: a payload of one endless name must not become a timeline of it.
 */
const LONGEST_PATH = 200;

const clip = (path: string): string =>
  path.length > LONGEST_PATH ? `${path.slice(0, LONGEST_PATH)}…` : path;

/** What is wrong with a payload: the first 50 places, each with its path. */
export class InvalidActions extends Error {
  readonly details: ErrorDetail[];

  constructor(details: ErrorDetail[]) {
    const told = details.slice(0, MOST_DETAILS).map(({ path, message }) => ({ path: clip(path), message }));
    super(told.map(({ path, message }) => `${path}: ${message}`).join('; '));
    this.name = 'InvalidActions';
    this.details = told;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Reads an answer_url reply: `{"actions": […]}`, each action keyed (`{"say": {…}}`) or typed (`{"type":
 * "say", …}`). One bad action refuses the whole payload.
 * @throws InvalidActions naming every bad path.
 */
export function parseActions(payload: unknown): Step[] {
  if (!isObject(payload) || !Array.isArray(payload.actions))
    throw new InvalidActions([{ path: 'actions', message: 'must be an array of actions' }]);
  const unknown = Object.keys(payload).filter((key) => key !== 'actions');
  if (unknown.length > 0)
    throw new InvalidActions(unknown.map((key) => ({ path: key, message: 'unknown field' })));
  if (payload.actions.length > MOST_ACTIONS)
    throw new InvalidActions([{ path: 'actions', message: `must hold at most ${MOST_ACTIONS} actions` }]);
  const details: ErrorDetail[] = [];
  const steps = payload.actions.flatMap((item: unknown, index) => {
    const result = parseAction(item, index);
    if ('action' in result) return [result];
    if (details.length < MOST_DETAILS) details.push(...result.details.slice(0, MOST_DETAILS));
    return [];
  });
  if (details.length > 0) throw new InvalidActions(details);
  return steps;
}

function parseAction(item: unknown, index: number): Step | { details: ErrorDetail[] } {
  const bad = (message: string, ...path: string[]) => ({
    details: [{ path: pathOf(['actions', index, ...path]), message }],
  });
  if (!isObject(item)) return bad('must be an object');
  const typed = 'type' in item;
  const keys = Object.keys(item);
  if (!typed && keys.length !== 1) return bad('must have exactly one key, the name of the action, or a type');
  const name = typed ? item.type : keys[0];
  const definition = typeof name === 'string' ? ACTIONS.get(name) : undefined;
  if (!definition)
    return bad(
      typeof name === 'string'
        ? `is not a known action: ${JSON.stringify(name.slice(0, 80))}`
        : 'must be the name of an action',
      ...(typed ? ['type'] : []),
    );
  const { type: _type, ...typedFields } = item;
  const result = definition.schema.safeParse(typed ? typedFields : item[definition.name], {
    error: plainWords,
  });
  if (result.success) return { action: definition.name, fields: result.data };
  const prefix = ['actions', index, ...(typed ? [] : [definition.name])];
  return {
    details: detailsOf(result.error.issues.map((issue) => ({ ...issue, path: [...prefix, ...issue.path] }))),
  };
}
