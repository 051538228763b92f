/**
 * Colours for people only: when the output is a terminal, or FORCE_COLOR asks for them. picocolors
 * by itself also colours wherever the variable CI is set, which spoils what scripts read.
 */
import { createColors } from 'picocolors';

const { NO_COLOR, FORCE_COLOR } = process.env;

export const colors = createColors(!NO_COLOR && (process.stdout.isTTY || Boolean(FORCE_COLOR)));
