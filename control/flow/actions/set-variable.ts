import { z } from 'zod';
import { action, CONTINUE, FlowFailure } from '../action.ts';
import { variableValue } from '../fields.ts';

/** At most so many variables per call (contract §4). */
const MOST = 100;

export const variableName = z
  .string()
  .max(128)
  .regex(/^[A-Za-z_][A-Za-z0-9_.-]*$/, 'must start with a letter or _ and hold letters, digits, _ . - only');

/** Sets a variable that travels with the call into every later request and webhook. */
export const setVariable = action({
  name: 'set_variable',
  summary:
    'Sets a variable of the call, which travels with it into every later request for instructions and every ' +
    `event; the next action runs at once. A call has at most ${MOST} variables.`,
  example: { name: 'language', value: 'en' },
  schema: z.strictObject({
    name: variableName.describe('a request by GET carries it as `var_` and this name'),
    value: variableValue.describe('takes the place of an earlier value'),
  }),
  run({ name, value }, { call, calls }) {
    if (!Object.hasOwn(call.variables, name) && Object.keys(call.variables).length >= MOST) {
      throw new FlowFailure('answer_url_error', `a call can have at most ${MOST} variables`);
    }
    calls.setVariable(call, name, value);
    return Promise.resolve(CONTINUE);
  },
});

export const unsetVariable = action({
  name: 'unset_variable',
  summary: 'Takes a variable of the call away; the next action runs at once.',
  example: { name: 'language' },
  schema: z.strictObject({ name: variableName.describe('one that is not set is no error') }),
  run({ name }, { call, calls }) {
    if (Object.hasOwn(call.variables, name)) calls.setVariable(call, name, undefined);
    return Promise.resolve(CONTINUE);
  },
});
