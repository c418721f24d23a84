// Builds components from the modules in `guest`, with the tools that the README tells users to use.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Build `test/guest/NAME.js`. Returns the component's path. */
export function build(name) {
  const out = `${root}build`;
  mkdirSync(out, { recursive: true });
  buildSync({
    absWorkingDir: root,
    entryPoints: [`test/guest/${name}.js`],
    outfile: `${out}/${name}.js`,
    bundle: true,
    format: 'esm',
    external: ['millpond:*', 'node:sqlite'],
    alias: { millpond: './src/index.js' },
    logLevel: 'warning',
  });
  // jco adds what the module imports from Node to the world.
  rmSync(`${out}/wit`, { recursive: true, force: true });
  cpSync(`${root}wit`, `${out}/wit`, { recursive: true });
  const arguments_ = ['componentize', `${out}/${name}.js`, '--bundle', '--wit', `${out}/wit`];
  arguments_.push('-n', 'command', '-o', `${out}/${name}.wasm`);
  const jco = fileURLToPath(import.meta.resolve('@bytecodealliance/jco'));
  execFileSync(process.execPath, [jcoCommand(jco), ...arguments_], { stdio: 'inherit' });
  return `${out}/${name}.wasm`;
}

/** The script of the command `jco`, from the package's module. */
function jcoCommand(module) {
  return module.replace(/[^/\\]+$/, 'jco.js');
}
