#!/usr/bin/env node
/** The entry of `millrace`: the process' own streams and signals, and its exit code. */
import '../core/node-version.ts';
import { processIo } from './io.ts';
import { runCli } from './program.ts';

process.exitCode = await runCli(process.argv.slice(2), processIo());
