/**
 * E.164 with its plus sign (ITU-T E.164, contract §1). Format decides, never "is this a valid subscriber".
 */
export const E164 = /^\+[1-9]\d{6,14}$/;

export const isE164 = (number: string): boolean => E164.test(number);
